"""What `model[0]` and `model[1]` of a SentenceTransformer show: settings, not weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxembed.sentence_transformers.sentence_transformer import SentenceTransformer


@dataclass(frozen=True)
class TransformerView:
    """What `model[0]` shows of the transformer."""

    model: "SentenceTransformer"

    @property
    def max_seq_length(self) -> int:
        """The tokens to which texts are cut."""
        return self.model.max_seq_length

    @property
    def tokenizer(self) -> Any:
        """The tokenizer as transformers has it."""
        return self.model.tokenizer


@dataclass(frozen=True)
class PoolingView:
    """What `model[1]` shows of the pooling."""

    pooling_mode: tuple[str, ...]
    embedding_dimension: int
    include_prompt: bool
