"""Static embeddings: where a checkpoint keeps its table, how large it is, and what its makers call it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxembed.convert.formats.json_files import inside, read_json, read_modules
from jaxembed.convert.formats.reader import Checkpoint
from jaxembed.convert.mapping.rules import Rule, Table
from jaxembed.errors import CheckpointError
from jaxembed.models.static import StaticConfig

KEY = "jaxembed"
_NAMES = ("embeddings", "embedding.weight")
# Where a checkpoint names no class.
_OURS = ["StaticEmbedding"]


def describe(folder: Path) -> dict[str, Any] | None:
    """Returns a config for a checkpoint of static embeddings, which may have none of its own; None for any other checkpoint.

    What was found in its files stands under a key of ours, which a converted checkpoint keeps.
    """
    own = read_json(folder / "config.json") or {}
    place, type_ = next(iter(read_modules(folder) or ()), ("", ""))
    if not type_.endswith(".StaticEmbedding") and own.get("model_type") != "model2vec":
        return None
    if KEY in own:
        return own
    checkpoint = Checkpoint(folder / place)
    shape = next((checkpoint.shape(name) for name in _NAMES if name in checkpoint), None)
    if shape is None or len(shape) != 2:
        raise CheckpointError(f"{folder / place} holds no table of static embeddings: none of {', '.join(_NAMES)}.")
    sizes = {"vocab_size": shape[0], "hidden_size": shape[1], "weighted": "weights" in checkpoint, "place": place}
    return {**own, "architectures": own.get("architectures") or _OURS, KEY: sizes}


def undescribed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config without what `describe` adds: that of the checkpoint, empty if it had none. Any other is unchanged."""
    if KEY not in config:
        return dict(config)
    return {key: value for key, value in config.items() if key != KEY and (key, value) != ("architectures", _OURS)}


def read(config: Mapping[str, Any]) -> StaticConfig:
    """Reads what `describe` found."""
    sizes = config[KEY]
    place = inside(str(sizes["place"]), Path("config.json"))
    return StaticConfig(
        vocabulary=sizes["vocab_size"], width=sizes["hidden_size"], layers=0, weighted=sizes["weighted"], subfolder=place
    )


_SENTENCE_TRANSFORMERS = Table(
    rules=(Rule("embedding.weight", "words", "v d"),),
    ignored=(),
    prefixes=("",),
    sizes=lambda config: {"v": config.vocabulary, "d": config.width, "l": 0},
    # model2vec saves int8 without a scale, because a unit vector is the same whatever it is.
    whole_numbers=True,
)
RULES = replace(
    _SENTENCE_TRANSFORMERS,
    others=(replace(_SENTENCE_TRANSFORMERS, rules=(Rule("embeddings", "words", "v d"), Rule("weights", "weights", "v"))),),
)
