"""From the bytes of a body to a JSON value that nothing behind it need fear: not too slow, too large, or in too many pieces.

A parser holds the interpreter from the first byte to the last, in whatever thread it runs, so values are counted before they
are made: numpy does that without the interpreter.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
from starlette.requests import Request

from jaxembed.server import decoding
from jaxembed.server.errors import HttpError
from jaxembed.server.settings import Settings
from jaxembed.server.threads import Threads

# Smaller bodies are parsed where they are: whatever is in them takes 5 ms at most, and a hop to a thread costs up to 1.
INLINE_BYTES = 1 << 16
# Counted at once. Each byte takes a few more while it is looked at.
_BLOCK_BYTES = 1 << 20
_QUOTE, _BACKSLASH = b'"'[0], b"\\"[0]
_OPENERS = np.zeros(256, bool)
_OPENERS[list(b",[{")] = True


async def receive(request: Request, settings: Settings) -> bytes:
    """Returns the bytes of a body, decompressed.

    Raises `HttpError` 413, 415, 400 for one that is not compressed as it says, 408 for one that stops coming, and 499.
    """
    most = settings.max_body_bytes
    stream = decoding.decompressor(request.headers.get("content-encoding", ""))
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most:
        raise HttpError(413, f"The body has {length} bytes and may have {most}.")
    chunks: list[bytes] = []
    size, more = 0, True
    clock = asyncio.get_running_loop().time
    end = clock() + settings.request_timeout_seconds
    try:
        async with asyncio.timeout_at(end) as limit:
            while more:
                limit.reschedule(min(end, clock() + settings.body_timeout_seconds))
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise HttpError(499, "The client closed the connection.")
                chunk, more = message.get("body", b""), message.get("more_body", False)
                parts = iter((chunk,)) if stream is None else decoding.decompressed(stream, chunk, last=not more)
                while (part := await _next(request, parts, in_thread=stream is not None)) is not None:
                    size += len(part)
                    if size > most:
                        raise HttpError(413, f"The body may have {most} bytes and has more.")
                    chunks.append(part)
    except TimeoutError:
        raise HttpError(
            408, f"The body stopped coming: {size} bytes arrived, and no more within {settings.body_timeout_seconds:g} s."
        ) from None
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _next(request: Request, parts: Iterator[bytes], *, in_thread: bool) -> bytes | None:
    """Returns the next part of a body, None behind the last. What a thread made of less counts as open like what arrived."""
    if not in_thread:
        return next(parts, None)
    threads: Threads = request.app.state.threads
    part = await threads.run(True, next, parts, None)
    if part is not None:
        request.scope["jaxembed.count"](len(part))
    return part


def parse(body: bytes, settings: Settings, charset: str = "") -> dict[str, Any]:
    """Returns the JSON object that a body is.

    Args:
        body: its bytes.
        settings: what it may hold.
        charset: what the request says of the bytes, "" for nothing.

    Raises:
        HttpError: 400 for anything else, and for more than may be in it; 415 for a charset that is not known.
    """
    body = decoding.as_utf8(body, charset)
    if len(body) > INLINE_BYTES and count_values(body, settings.max_request_values) > settings.max_request_values:
        raise HttpError(
            400,
            f"The body holds more than {settings.max_request_values} JSON values (--max-request-values). "
            "Send it in several requests.",
        )
    value = _loaded(body)
    if not isinstance(value, dict):
        raise HttpError(400, f"The body must be a JSON object, not {_json_name(value)}.")
    _check_lengths(value, settings.max_items)
    return value


def _loaded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        reason = decoding.why_not_utf8(body)
        if reason is not None:
            raise HttpError(400, reason) from None
        try:
            return decoding.without_half_pairs(body)
        except ValueError:
            raise HttpError(400, f"The body is not valid JSON: {error}.") from None


def count_values(body: bytes, enough: int) -> int:
    """Returns how many values a JSON text may have at most, empty containers counted twice; stops beyond `enough`.

    Each value but the first follows a comma or is the first of an array or object; what stands in strings does not count.
    """
    data = np.frombuffer(body, np.uint8)
    blocks = [data[at : at + _BLOCK_BYTES] for at in range(0, len(data), _BLOCK_BYTES)]
    # Mostly no more is needed: prose has fewer commas than may be.
    count = 1 + sum(int(np.count_nonzero(_OPENERS[block])) for block in blocks)
    if count <= enough:
        return count
    count, inside, escaping = 1, False, False
    for block in blocks:
        marks, escaping = _without_escaped(block, escaping)
        within = np.logical_xor.accumulate(marks) ^ inside
        count += int(np.count_nonzero(_OPENERS[block] & ~within))
        inside = bool(within[-1])
        if count > enough:
            break
    return count


def _without_escaped(block: np.ndarray, escaping: bool) -> tuple[np.ndarray, bool]:
    """Returns where the quotes are that begin or end a string, and whether the first byte behind the block is escaped."""
    slashes = block == _BACKSLASH
    places = np.arange(len(block), dtype=np.int32)
    # The last byte before each that is no backslash; an odd number of backslashes in between escapes it.
    last = np.maximum.accumulate(np.where(slashes, np.int32(-1), places))
    before = np.concatenate((np.array([-1], np.int32), last[:-1]))
    run = places - 1 - before
    # A run that reaches back to the beginning continues the block before.
    escaped = ((run + ((before == -1) & escaping)) & 1).astype(bool)
    end = len(block) - 1 - int(last[-1]) + (int(last[-1]) == -1 and escaping)
    return (block == _QUOTE) & ~escaped, bool(end & 1)


def _check_lengths(body: dict[str, Any], most: int) -> None:
    """Raises a 400 if a list anywhere in a body holds more than so many things other than numbers."""
    todo: list[tuple[str, Any]] = list(body.items())
    while todo:
        name, value = todo.pop()
        if isinstance(value, dict):
            todo.extend(value.items())
        elif isinstance(value, list) and value:
            if isinstance(value[0], int | float):  # token ids; what else is among them is refused when they are read
                continue
            if len(value) > most:
                raise HttpError(400, f"{name} list length {len(value)} exceeds the limit of {most}.", field=name)
            todo.extend((name, each) for each in value if isinstance(each, list | dict))


def _json_name(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), "something else")
