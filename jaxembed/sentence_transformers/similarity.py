"""How alike vectors are, in float32 numpy: the functions that sentence-transformers names, and vLLM's scores of pairs.

Larger means more alike.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxembed.errors import InputError

Pair = tuple[np.ndarray, np.ndarray]


def unit(x: np.ndarray) -> np.ndarray:
    """Returns vectors [..., d] at unit length; zeros stay zeros."""
    normed: np.ndarray = x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
    return normed


def _distances(a: np.ndarray, b: np.ndarray, order: int) -> np.ndarray:
    # One row of `a` at a time: all pairs at once would take len(a) · len(b) · d floats.
    return np.stack([np.linalg.norm(b - row, ord=order, axis=-1) for row in a]) if len(a) else np.zeros((0, len(b)), np.float32)


# For each name: all pairs [n, d], [m, d] to [n, m], and pairwise [n, d], [n, d] to [n].
_FUNCTIONS: dict[str, tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]] = {
    "cosine": (lambda a, b: unit(a) @ unit(b).T, lambda a, b: (unit(a) * unit(b)).sum(-1)),
    "dot": (lambda a, b: a @ b.T, lambda a, b: (a * b).sum(-1)),
    "euclidean": (lambda a, b: -_distances(a, b, 2), lambda a, b: -np.linalg.norm(a - b, axis=-1)),
    "manhattan": (lambda a, b: -_distances(a, b, 1), lambda a, b: -np.abs(a - b).sum(-1)),
}
NAMES = tuple(_FUNCTIONS)


def check_name(name: Any) -> str:
    """Returns the name of a similarity function (a str, or an enum with one); raises `InputError` for an unknown one."""
    value = getattr(name, "value", name)
    if value not in _FUNCTIONS:
        raise InputError(
            f"the similarity function {value!r} is not known; known are {', '.join(NAMES)}.", field="similarity_fn_name"
        )
    return str(value)


def similarity(name: str, a: Any, b: Any) -> np.ndarray:
    """Returns the similarity of every row of `a` [n, d] with every row of `b` [m, d], float32 [n, m]. A vector is one row."""
    return _FUNCTIONS[name][0](*_matrices(a, b))


def similarity_pairwise(name: str, a: Any, b: Any) -> np.ndarray:
    """Returns the similarity of each row of `a` with the same row of `b`, float32 [n]; of two vectors, a scalar []."""
    first, second = _matrices(a, b)
    if len(first) != len(second):
        raise InputError(
            f"pairwise similarity needs as many vectors on both sides, not {len(first)} and {len(second)}.", field="embeddings2"
        )
    found = _FUNCTIONS[name][1](first, second)
    return found[0] if np.ndim(a) == np.ndim(b) == 1 else found


def _matrices(a: Any, b: Any) -> Pair:
    first, second = (np.atleast_2d(np.asarray(x, np.float32)) for x in (a, b))
    if first.shape[-1] != second.shape[-1]:
        raise InputError(
            f"vectors of {first.shape[-1]} and {second.shape[-1]} dimensions cannot be compared.", field="embeddings2"
        )
    return first, second
