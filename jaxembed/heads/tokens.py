"""One vector a token: through the heads without pooling, or the last hidden states as the transformer leaves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxembed.heads.task import POOLING, SCORE, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from jaxembed.packing.text import Text


def _cut(output: np.ndarray, texts: Sequence[Text], starts: Sequence[int]) -> list[np.ndarray]:
    return [
        output[start : start + len(text.ids), : text.options.dimensions].copy()
        for text, start in zip(texts, starts, strict=True)
    ]


def _cut_states(output: np.ndarray, texts: Sequence[Text], starts: Sequence[int]) -> list[np.ndarray]:
    return [output[start : start + len(text.ids)].copy() for text, start in zip(texts, starts, strict=True)]


def late_interaction(query: np.ndarray, document: np.ndarray) -> float:
    """Returns for each token of the query [n, d] the best dot product with a token of the document [m, d], summed."""
    return float((query @ document.T).max(axis=1).sum())


TOKEN_EMBED = Task(
    name="token_embed",
    per_token=True,
    program=lambda embedder, packed, states, run: embedder.each_token(packed, states),
    cut=_cut,
    compare=late_interaction,
    apis=frozenset({POOLING, SCORE}),
)

HIDDEN = Task(
    name="hidden",
    per_token=True,
    program=lambda embedder, packed, states, run: states.astype("float32"),
    cut=_cut_states,
)
