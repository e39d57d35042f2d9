"""How alike vectors are: all pairs, and vectors with their partners. What they give is what `tensors.tensor` makes."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np

from jaxembed.errors import InputError
from jaxembed.sentence_transformers import similarity
from jaxembed.tensors import array, tensor


def cos_sim(a: Any, b: Any) -> Any:
    """Returns the cosine of all pairs of `a` [n, d] and `b` [m, d], float32 [n, m]; a vector is one row."""
    return tensor(similarity.similarity("cosine", array(a), array(b)))


pytorch_cos_sim = cos_sim


def dot_score(a: Any, b: Any) -> Any:
    """Returns the dot product of all pairs of `a` [n, d] and `b` [m, d], float32 [n, m]; a vector is one row."""
    return tensor(similarity.similarity("dot", array(a), array(b)))


def euclidean_sim(a: Any, b: Any) -> Any:
    """Returns the Euclidean distance of all pairs with a minus before it, float32 [n, m]."""
    return tensor(similarity.similarity("euclidean", array(a), array(b)))


def manhattan_sim(a: Any, b: Any) -> Any:
    """Returns the Manhattan distance of all pairs with a minus before it, float32 [n, m]."""
    return tensor(similarity.similarity("manhattan", array(a), array(b)))


def pairwise_cos_sim(a: Any, b: Any) -> Any:
    """Returns the cosine of each vector with its partner, float32 [n]."""
    return tensor(similarity.similarity_pairwise("cosine", array(a), array(b)))


def pairwise_dot_score(a: Any, b: Any) -> Any:
    """Returns the dot product of each vector with its partner, float32 [n]."""
    return tensor(similarity.similarity_pairwise("dot", array(a), array(b)))


def pairwise_euclidean_sim(a: Any, b: Any) -> Any:
    """Returns the Euclidean distance of each vector to its partner with a minus before it, float32 [n]."""
    return tensor(similarity.similarity_pairwise("euclidean", array(a), array(b)))


def pairwise_manhattan_sim(a: Any, b: Any) -> Any:
    """Returns the Manhattan distance of each vector to its partner with a minus before it, float32 [n]."""
    return tensor(similarity.similarity_pairwise("manhattan", array(a), array(b)))


def pairwise_angle_sim(x: Any, y: Any) -> Any:
    """Returns how far the angles of two vectors lie apart, float32 [n]: AnglE (arXiv 2309.12871), section 3.3.

    A vector's halves are the real and the imaginary parts of complex numbers z and w; the quotient z / w, each over its length,
    is summed over real and imaginary parts, without its sign.
    """
    x, y = (np.atleast_2d(np.asarray(array(one), np.float32)) for one in (x, y))
    a, b = np.split(x, 2, axis=1)
    c, d = np.split(y, 2, axis=1)
    square = (c**2 + d**2).sum(1, keepdims=True)
    real, imaginary = (a * c + b * d) / square, (b * c - a * d) / square
    quotient = np.sqrt((a**2 + b**2).sum(1, keepdims=True)) / np.sqrt(square)
    return tensor(np.abs((np.concatenate((real, imaginary), axis=1) / quotient).sum(1)))


class SimilarityFunction(Enum):
    """The names of similarity functions."""

    COSINE = "cosine"
    DOT_PRODUCT = "dot"
    DOT = "dot"  # noqa: PIE796 - both names are sentence-transformers'
    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"

    @staticmethod
    def to_similarity_fn(similarity_function: "str | SimilarityFunction") -> Callable[[Any, Any], Any]:
        """Returns the function of all pairs. Raises `InputError` for an unknown name."""
        return _FUNCTIONS[_name(similarity_function)][0]

    @staticmethod
    def to_similarity_pairwise_fn(similarity_function: "str | SimilarityFunction") -> Callable[[Any, Any], Any]:
        """Returns the function of vectors and their partners. Raises `InputError` for an unknown name."""
        return _FUNCTIONS[_name(similarity_function)][1]

    @staticmethod
    def possible_values() -> list[str]:
        """Returns all names."""
        return [one.value for one in SimilarityFunction]


_FUNCTIONS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    "cosine": (cos_sim, pairwise_cos_sim),
    "dot": (dot_score, pairwise_dot_score),
    "euclidean": (euclidean_sim, pairwise_euclidean_sim),
    "manhattan": (manhattan_sim, pairwise_manhattan_sim),
}


def _name(given: Any) -> str:
    value = getattr(given, "value", given)
    if value not in _FUNCTIONS:
        raise InputError(
            f"the similarity function {value!r} is not known; known are {', '.join(_FUNCTIONS)}.", field="similarity_function"
        )
    return str(value)
