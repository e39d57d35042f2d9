"""Vectors in fewer bits, as sentence-transformers does it (`util/quantization.py`), in numpy."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxembed.engine.finite import not_finite
from jaxembed.errors import InputError, NonFiniteError
from jaxembed.tensors import array

PRECISIONS = ("float32", "int8", "uint8", "binary", "ubinary")

# Fewer vectors than this say little about the range of a dimension.
_FEW = 100

logger = logging.getLogger(__name__)


def quantize_embeddings(
    embeddings: np.ndarray | Sequence[np.ndarray],
    precision: str,
    ranges: np.ndarray | None = None,
    calibration_embeddings: np.ndarray | None = None,
) -> Any:
    """Returns float embeddings [n, d] in another precision.

    int8 and uint8 [n, d] divide each dimension's range into 256 steps. binary (int8) and ubinary (uint8) [n, ceil(d / 8)] hold
    one bit a dimension, set where it is above zero, most significant first; binary is ubinary less 128.

    Args:
        embeddings: floats [n, d]; a list of matrices gives a list, quantized on one common range.
        precision: float32, int8, uint8, binary or ubinary.
        ranges: minimum and maximum of each dimension [2, d], for int8 and uint8.
        calibration_embeddings: what the ranges are drawn from if they are not given [m, d]; by default the embeddings.

    Raises:
        InputError: an unknown precision, integers, or a range to be drawn from a single vector.
        NonFiniteError: a vector with NaN or infinite numbers, which only float32 can hold.
    """
    if precision not in PRECISIONS:
        raise InputError(f"Precision {precision!r} is not supported, must be one of {list(PRECISIONS)}", field="precision")
    if isinstance(embeddings, list | tuple):
        if not embeddings:
            return []
        if embeddings[0].ndim == 2 if hasattr(embeddings[0], "ndim") else np.ndim(embeddings[0]) == 2:
            embeddings = [array(matrix) for matrix in embeddings]
            if precision in ("int8", "uint8") and ranges is None:
                ranges = _ranges(np.concatenate(embeddings), precision, calibration_embeddings)
            return [quantize_embeddings(matrix, precision, ranges) for matrix in embeddings]
    values = array(embeddings)
    if np.issubdtype(values.dtype, np.integer):
        raise InputError("Embeddings to quantize must be float rather than int8 or uint8.", field="embeddings")
    if precision == "float32":
        return values.astype(np.float32)
    broken = not_finite(list(values if values.ndim > 1 else values[None]))
    if broken:
        # Neither a bit nor a step of a range stands for NaN, and a range drawn from it is one for nobody.
        raise NonFiniteError(broken, field="embeddings")
    if precision == "ubinary":
        return np.packbits(values > 0, axis=-1)
    if precision == "binary":
        return (np.packbits(values > 0, axis=-1) - np.uint8(128)).view(np.int8)
    if not len(values):
        return values.astype(precision)
    low, high = (array(ranges) if ranges is not None else _ranges(values, precision, calibration_embeddings)).astype(np.float32)
    steps = (high - low) / 255
    levels = np.clip(np.floor((values - low) / np.where(steps == 0, 1, steps)), 0, 255)
    return levels.astype(np.uint8) if precision == "uint8" else (levels - 128).astype(np.int8)


def _ranges(values: np.ndarray, precision: str, calibration: Any) -> np.ndarray:
    calibration = None if calibration is None else array(calibration)
    if calibration is None:
        if values.ndim == 1 or len(values) == 1:
            raise InputError(
                f"Cannot compute {precision} quantization ranges from a single embedding. Call `quantize_embeddings` with "
                "`ranges` or `calibration_embeddings` from a representative set of embeddings instead.",
                field="embeddings",
            )
        if len(values) < _FEW:
            logger.warning(
                "Computing %s quantization ranges from %d embeddings; more would be steadier.", precision, len(values)
            )
        calibration = values
    elif broken := not_finite(list(np.atleast_2d(calibration))):
        raise NonFiniteError(broken, field="calibration_embeddings")
    return np.stack([calibration.min(axis=0), calibration.max(axis=0)])
