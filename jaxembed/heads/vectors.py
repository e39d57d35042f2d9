"""One vector a text: pooled, through the heads, cut and scaled as the text asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxembed.heads.task import EMBEDDINGS, POOLING, SCORE, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from jaxembed.packing.text import Text


def _cut(output: np.ndarray, texts: Sequence[Text], starts: Sequence[int]) -> list[np.ndarray]:
    vectors = output[: len(texts)].copy()
    wanted = [text.options.dimensions for text in texts]
    return [v if n is None else v[:n].copy() for v, n in zip(vectors, wanted, strict=True)]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the cosine of two vectors [d]; 0 if one is zero."""
    from numpy.linalg import norm

    norms = max(float(norm(a)), 1e-12) * max(float(norm(b)), 1e-12)
    return float(a @ b) / norms


EMBED = Task(
    name="embed",
    per_token=False,
    program=lambda embedder, packed, states, run: embedder.pooled(packed, states, run),
    cut=_cut,
    compare=cosine,
    apis=frozenset({EMBEDDINGS, POOLING, SCORE}),
)
