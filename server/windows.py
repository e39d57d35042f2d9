"""Texts longer than the model takes, in windows: vLLM's chunked processing, for one vector a text."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxembed.packing.text import Text
from jaxembed.sentence_transformers.similarity import unit


def windows(text: Text, length: int) -> list[Text]:
    """Returns a text's ids in consecutive parts of at most `length`, which do not overlap; a text that fits is its own part."""
    if len(text.ids) <= length:
        return [text]
    parts = []
    for start in range(0, len(text.ids), length):
        ids = text.ids[start : start + length]
        skip = min(max(text.options.skip - start, 0), len(ids))
        parts.append(Text(ids, replace(text.options, skip=skip)))
    return parts


def joined(vectors: Sequence[np.ndarray], parts: Sequence[Text]) -> np.ndarray:
    """Returns the vector of a text: the mean of its windows', weighted by their tokens, of unit length if they are.

    Args:
        vectors: of each window, float32 [d].
        parts: the windows.
    """
    if len(parts) == 1:
        return vectors[0]
    weights = np.array([len(part.ids) for part in parts], np.float64)
    mean = (weights @ np.stack(vectors).astype(np.float64) / weights.sum()).astype(np.float32)
    return unit(mean[None])[0] if parts[0].options.normalize else mean
