"""A model that is ready to run, in plain values: what an engine is handed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxembed.heads.recipe import Recipe
from jaxembed.inputs.encoder import Encoder
from jaxembed.inputs.tokenizer import Tokenizer
from jaxembed.models.backbone import BackboneConfig
from jaxembed.packing.text import Options


@dataclass(frozen=True, kw_only=True)
class About:
    """What is known of a model without its weights.

    Attributes:
        name: what it was asked for by.
        folder: where its files lie.
        config: the family's own.
        config_json: its `config.json`, overrides included.
        recipe: how vectors are made.
        encoder: the way from prompts to texts.
    """

    name: str
    folder: Path
    config: BackboneConfig
    config_json: Mapping[str, Any]
    recipe: Recipe
    encoder: Encoder

    @property
    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        return self.encoder.tokenizer

    @property
    def max_length(self) -> int:
        """Tokens of the longest text."""
        return self.encoder.max_length

    @cached_property
    def width(self) -> int:
        """The dimensions of a vector."""
        return self.recipe.width(self.config.output_width)

    @property
    def options(self) -> Options:
        """What its files ask for each text."""
        return Options(normalize=bool(self.recipe.normalize))


@dataclass(frozen=True, kw_only=True)
class Model(About):
    """A checkpoint in memory.

    Attributes:
        family: the name of its family in the registry.
        graph, state: the split `heads.embedder.Embedder`, its arrays on the device.
        dtype: of the backbone's arrays.
    """

    family: str
    graph: Any
    state: Any
    dtype: Any
