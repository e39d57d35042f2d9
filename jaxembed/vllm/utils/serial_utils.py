"""How vectors are written into the answers of `/v1/embeddings` and `/pooling`, for clients that read them back."""

import base64
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ml_dtypes
import numpy as np

from jaxembed.errors import InputError
from jaxembed.tensors import Tensor

EmbedDType = Literal["float32", "float16", "bfloat16", "fp8_e4m3", "fp8_e5m2"]
Endianness = Literal["native", "big", "little"]

EMBED_DTYPES: dict[str, Any] = {
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
}
ENDIANNESS = ("native", "big", "little")


@dataclass
class MetadataItem:
    """Where a vector stands in the body of an answer in bytes, and in what type."""

    index: int
    embed_dtype: str
    endianness: str
    start: int
    end: int
    shape: Sequence[int]


def tensor2binary(tensor: Any, embed_dtype: str = "float32", endianness: str = "native") -> bytes:
    """Returns the bytes of an array in a type and an order of bytes. Raises `InputError` for unknown ones."""
    _check(embed_dtype, endianness)
    values = np.asarray(tensor).astype(EMBED_DTYPES[embed_dtype])
    return (values.view(_raw(values.dtype)).byteswap() if _swapped(endianness) else values).tobytes()


def binary2tensor(binary: bytes, shape: Sequence[int], embed_dtype: str = "float32", endianness: str = "native") -> Tensor:
    """Returns the array of some bytes, float32 in the given shape. Raises `InputError` for unknown types."""
    _check(embed_dtype, endianness)
    dtype = np.dtype(EMBED_DTYPES[embed_dtype])
    raw = np.frombuffer(binary, _raw(dtype))
    values = (raw.byteswap() if _swapped(endianness) else raw).view(dtype)
    found: Tensor = values.astype(np.float32).reshape(tuple(shape)).view(Tensor)
    return found


def tensor2base64(tensor: Any, embed_dtype: str = "float32", endianness: str = "native") -> str:
    """Returns the bytes of an array in base64."""
    return base64.b64encode(tensor2binary(tensor, embed_dtype, endianness)).decode()


def decode_pooling_output(items: Sequence[MetadataItem], body: bytes) -> list[Tensor]:
    """Returns the arrays in the body of an answer in bytes, in the order of the texts."""
    ordered = sorted(items, key=lambda item: item.index)
    return [binary2tensor(body[one.start : one.end], one.shape, one.embed_dtype, one.endianness) for one in ordered]


def _raw(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}")


def _swapped(endianness: str) -> bool:
    return endianness not in ("native", sys.byteorder)


def _check(embed_dtype: str, endianness: str) -> None:
    if embed_dtype not in EMBED_DTYPES:
        raise InputError(f"embed_dtype must be one of {', '.join(EMBED_DTYPES)}, not {embed_dtype!r}.", field="embed_dtype")
    if endianness not in ENDIANNESS:
        raise InputError(f"endianness must be one of {', '.join(ENDIANNESS)}, not {endianness!r}.", field="endianness")
