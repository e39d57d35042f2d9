"""What can be said of a model's modules: `model[0]` and `model[1]` have settings, no weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TransformerView:
    """What `model[0]` shows of the transformer.

    Attributes:
        max_seq_length: the tokens to which texts are cut.
        make_tokenizer: gives the tokenizer, which takes transformers to be imported.
    """

    max_seq_length: int
    make_tokenizer: Callable[[], Any]

    @property
    def tokenizer(self) -> Any:
        """The tokenizer as transformers has it."""
        return self.make_tokenizer()


@dataclass(frozen=True)
class PoolingView:
    """What `model[1]` shows of the pooling."""

    pooling_mode: tuple[str, ...]
    embedding_dimension: int
    include_prompt: bool
