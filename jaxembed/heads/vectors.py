"""One vector a text: pooled, through the heads, cut and scaled as the text asked."""

from collections.abc import Sequence

import numpy as np

from jaxembed.heads.task import EMBEDDINGS, POOLING, SCORE, Task
from jaxembed.packing.text import Text


def _cut(output: np.ndarray, texts: Sequence[Text], starts: Sequence[int]) -> list[np.ndarray]:
    vectors = output[: len(texts)].copy()
    wanted = [text.options.dimensions for text in texts]
    return [v if n is None else v[:n].copy() for v, n in zip(vectors, wanted, strict=True)]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the cosine of two vectors [d]; 0 if one is zero."""
    norms = max(float(np.linalg.norm(a)), 1e-12) * max(float(np.linalg.norm(b)), 1e-12)
    return float(a @ b) / norms


EMBED = Task(
    name="embed",
    per_token=False,
    program=lambda embedder, packed, states, run: embedder.pooled(packed, states, run),
    cut=_cut,
    compare=cosine,
    apis=frozenset({EMBEDDINGS, POOLING, SCORE}),
)
