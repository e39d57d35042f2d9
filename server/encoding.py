"""Vectors to bytes: JSON, base64 or raw, straight from the arrays that the engine returns."""

import base64
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import orjson
from starlette.responses import Response, StreamingResponse

from jaxembed.errors import InputError
from jaxembed.sentence_transformers.similarity import unit
from jaxembed.vllm.utils.serial_utils import EMBED_DTYPES

EncodingFormat = Literal["float", "base64", "bytes", "bytes_only"]
EmbedDtype = Literal["float32", "float16", "bfloat16", "fp8_e4m3", "fp8_e5m2"]
Endianness = Literal["native", "big", "little"]

# Python's http.client, and with it requests and urllib3, reads lines of up to 65,536 bytes, the header's name included.
_MOST_HEADER_BYTES = 65_000

# A large answer is handed to the network in parts of this size.
_PART_BYTES = 1 << 20

# Cohere's int8 and uint8 without a set to calibrate on: unit vectors rarely have a value beyond this many standard deviations,
# and a unit vector of d dimensions has a standard deviation of about 1 / sqrt(d).
_INT8_DEVIATIONS = 4.0


def to_bytes(vector: np.ndarray, dtype: EmbedDtype, endianness: Endianness) -> bytes:
    """Returns a vector's numbers as raw bytes."""
    with np.errstate(over="ignore"):
        cast = vector if dtype == "float32" else vector.astype(EMBED_DTYPES[dtype])
    if cast.itemsize > 1 and endianness not in ("native", sys.byteorder):
        return cast.view(np.uint16 if cast.itemsize == 2 else np.uint32).byteswap().tobytes()
    return cast.tobytes()


def to_base64(vector: np.ndarray, dtype: EmbedDtype = "float32", endianness: Endianness = "little") -> str:
    """Returns a vector's numbers as base64."""
    return base64.b64encode(to_bytes(vector, dtype, endianness)).decode("ascii")


def json_response(body: Any) -> Response:
    """Returns a JSON answer; float32 arrays in it are written with the fewest digits that read back the same."""
    return Response(_dumps(body), media_type="application/json")


def large_json_response(body: Any) -> Response:
    """Returns the same answer, written a vector at a time, so that the event loop goes on while a thread does this."""
    parts: list[bytes] = []
    group: list[bytes] = []
    size = 0
    for piece in _pieces(body):
        group.append(piece)
        size += len(piece)
        if size > _PART_BYTES:
            parts.append(b"".join(group))
            group, size = [], 0
    parts.append(b"".join(group))

    async def stream() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    length = str(sum(map(len, parts)))
    return StreamingResponse(stream(), headers={"content-length": length}, media_type="application/json")


def _pieces(value: Any) -> Iterator[bytes]:
    if isinstance(value, dict):
        yield b"{"
        for index, (key, each) in enumerate(value.items()):
            yield (b"," if index else b"") + _dumps(key) + b":"
            yield from _pieces(each)
        yield b"}"
    elif _has_parts(value):
        yield b"["
        for index, each in enumerate(value):
            if index:
                yield b","
            yield from _pieces(each)
        yield b"]"
    else:
        yield _dumps(value)


def _has_parts(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim > 1
    return isinstance(value, list) and len(value) > 0 and isinstance(value[0], list | dict | np.ndarray | orjson.Fragment)


def _dumps(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def vectors_response(
    head: dict[str, Any],
    vectors: Sequence[np.ndarray],
    usage: dict[str, Any],
    *,
    name: str,
    field: str,
    encoding: EncodingFormat,
    dtype: EmbedDtype,
    endianness: Endianness,
    in_thread: bool = False,
) -> Response:
    """Returns vectors as OpenAI and vLLM do.

    Args:
        head: what comes before "data".
        vectors: one for each item.
        usage: what comes behind "data".
        name: the items' "object".
        field: the key of their vector.
        encoding: bytes puts the numbers of all vectors behind each other and describes them in the header `metadata`,
            bytes_only leaves the description out.
        dtype: of the numbers, where they are bytes or base64.
        endianness: the same.
        in_thread: whether others want to run meanwhile.

    Raises:
        InputError: the description is too long for a header.
    """
    if encoding in ("bytes", "bytes_only"):
        return _raw(head, vectors, usage, with_metadata=encoding == "bytes", dtype=dtype, endianness=endianness)
    values: Sequence[Any] = vectors
    if encoding == "base64":
        values = [to_base64(vector, dtype, endianness) for vector in vectors]
    data = [{"index": index, "object": name, field: value} for index, value in enumerate(values)]
    return (large_json_response if in_thread else json_response)({**head, "data": data, "usage": usage})


def _raw(
    head: dict[str, Any],
    vectors: Sequence[np.ndarray],
    usage: dict[str, Any],
    *,
    with_metadata: bool,
    dtype: EmbedDtype,
    endianness: Endianness,
) -> Response:
    parts = [to_bytes(vector, dtype, endianness) for vector in vectors]
    headers = {}
    if with_metadata:
        data, start = [], 0
        for index, (part, vector) in enumerate(zip(parts, vectors, strict=True)):
            place = {"start": start, "end": start + len(part), "shape": list(vector.shape)}
            data.append({"index": index, "embed_dtype": dtype, "endianness": endianness, **place})
            start += len(part)
        known = {key: head[key] for key in ("id", "created", "model") if key in head}
        # A header is latin-1, an id may be anything.
        described = json.dumps({**known, "data": data, "usage": usage}, separators=(",", ":"))
        if len(described) > _MOST_HEADER_BYTES:
            raise InputError(
                f"The description of {len(parts)} vectors takes {len(described)} bytes, and a header may have "
                f"{_MOST_HEADER_BYTES}. Send fewer texts, or ask for encoding_format bytes_only, which leaves it out.",
                field="encoding_format",
            )
        headers["metadata"] = described
    return Response(b"".join(parts), headers=headers, media_type="application/octet-stream")


def to_bits(vectors: np.ndarray) -> np.ndarray:
    """Returns one bit for each of [n, d] dimensions, 1 where it is at least 0, most significant first, uint8 [n, d / 8]."""
    if vectors.shape[-1] % 8:
        message = "Embedding dimension must be a multiple of 8 for binary embedding types, but got"
        raise InputError(f"{message} {vectors.shape[-1]}.", field="embedding_types")
    return np.packbits(vectors >= 0, axis=-1)


def to_int8(vectors: np.ndarray) -> np.ndarray:
    """Returns the directions of vectors [n, d] in 255 even steps, int8.

    For x of unit length: round(x · sqrt(d) / 4 · 127), kept within -127 and 127. One fixed scale for all dimensions, so that
    dot products of the integers keep their order; sixteen times the standard deviation would be no finer, and values beyond
    four of them, one in thousands, are cut. A model that does not normalize would overflow that scale.
    """
    scale = np.float32(127 * np.sqrt(vectors.shape[-1]) / _INT8_DEVIATIONS)
    return np.clip(np.rint(unit(vectors) * scale), -127, 127).astype(np.int8)


def cohere_embeddings(vectors: Sequence[np.ndarray], types: Sequence[str]) -> dict[str, Any]:
    """Returns vectors under each of Cohere's `embedding_types`; uint8 is int8 plus 128, binary is ubinary less 128."""
    matrix = np.stack(vectors)
    made: dict[str, Callable[[], Any]] = {
        "float": lambda: list(vectors),
        "base64": lambda: [to_base64(vector) for vector in vectors],
        "ubinary": lambda: to_bits(matrix),
        "binary": lambda: (to_bits(matrix).astype(np.int16) - 128).astype(np.int8),
        "int8": lambda: to_int8(matrix),
        "uint8": lambda: (to_int8(matrix).astype(np.int16) + 128).astype(np.uint8),
    }
    return {name: made[name]() for name in dict.fromkeys(types)}
