"""What `LLM` returns: vLLM's output classes, with float32 numpy arrays where vLLM has tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jaxembed.errors import InputError


@dataclass(eq=False)
class PoolingOutput:
    """The raw result for one text.

    Attributes:
        data: float32, [dim] for embed, [tokens, dim] for token_embed; a numpy array on which torch's commonest words work.
    """

    data: np.ndarray


class EmbeddingOutput:
    """The vector of one text.

    Attributes:
        array: float32 [dim].
    """

    def __init__(self, vector: np.ndarray) -> None:
        if vector.ndim != 1:
            raise InputError("pooled_data should be a 1-D embedding vector", field="pooled_data")
        self.array = vector

    @property
    def embedding(self) -> list[float]:
        """The vector as a list of floats, made when asked for: thirty times the memory of the array."""
        values: list[float] = self.array.tolist()
        return values

    @property
    def hidden_size(self) -> int:
        """How many dimensions the vector has."""
        return int(self.array.shape[0])

    def __repr__(self) -> str:
        return f"EmbeddingOutput(hidden_size={self.hidden_size})"


@dataclass
class ClassificationOutput:
    """The probabilities of a text's classes; no model here gives them yet, and code that names the class can be imported.

    Attributes:
        probs: one for each class.
    """

    probs: list[float]

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.probs)


@dataclass
class ScoringOutput:
    """The similarity of one pair of texts.

    Attributes:
        score: larger for what is more alike.
    """

    score: float


@dataclass(eq=False)
class PoolingRequestOutput[O]:
    """The answer to one text. As in vLLM, those of `LLM.embed` and `LLM.score` are of this class too.

    Attributes:
        request_id: a new one.
        outputs: the result.
        prompt_token_ids: what the text became; for a score, what both texts became.
        num_cached_tokens: 0, for nothing is cached.
        finished: True, for nothing streams.
    """

    request_id: str
    outputs: O
    prompt_token_ids: Sequence[int]
    num_cached_tokens: int = 0
    finished: bool = True


class EmbeddingRequestOutput(PoolingRequestOutput[EmbeddingOutput]):
    """The answer of `LLM.embed` to one text."""


class ClassificationRequestOutput(PoolingRequestOutput[ClassificationOutput]):
    """The answer of a classifier to one text."""


class ScoringRequestOutput(PoolingRequestOutput[ScoringOutput]):
    """The answer of `LLM.score` to one pair."""
