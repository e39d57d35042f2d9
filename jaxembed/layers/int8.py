"""Weights in int8 with one scale for each output channel, as a leaf that models do not see: `product` is all that knows it."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxembed.errors import CheckpointError

Array = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Quantized:
    """The matrix q · scale.

    q: int8, the shape of the matrix. scale: float32, the shape of the matrix's last axes, those that a product does not sum
    over. In a stack of layers both have a leading layer axis.
    """

    q: Array
    scale: Array

    def __getitem__(self, index: Any) -> "Quantized":
        return self if index is Ellipsis else Quantized(self.q[index], self.scale[index])


def quantize(matrix: np.ndarray, *, summed: int) -> Quantized:
    """Returns a float matrix in int8: its first `summed` axes are those that a product sums over.

    Each output channel is divided by its largest absolute value over 127 and rounded to the nearest whole number, half to
    even; a channel of zeros has the scale 0. Raises `CheckpointError` for a matrix with NaN or infinite values.
    """
    wide = np.asarray(matrix, np.float32)
    scale = np.abs(wide).max(axis=tuple(range(summed)), initial=0) / np.float32(127)
    if not np.isfinite(scale).all():
        raise CheckpointError("a matrix of the layers holds NaN or infinite values, for which int8 has no place.")
    q = np.rint(wide / np.where(scale == 0, np.float32(1), scale))
    return Quantized(np.clip(q, -127, 127).astype(np.int8), scale)


def dequantized(matrix: Quantized) -> np.ndarray:
    """Returns the float32 matrix that a quantized one stands for."""
    return np.asarray(matrix.q, np.float32) * np.asarray(matrix.scale)


def product(equation: str, x: Array, w: Array) -> Array:
    """Returns `einsum(equation, x, w)` in the type of x, where w may be quantized.

    Every whole number up to 127 is exact in bfloat16, so the product is of the exact q; the scale comes behind it, on the
    outputs, of which there are fewer than weights.
    """
    if not isinstance(w, Quantized):
        return jnp.einsum(equation, x, w)
    return (jnp.einsum(equation, x, w.q.astype(x.dtype)) * w.scale).astype(x.dtype)
