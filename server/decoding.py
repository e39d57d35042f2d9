"""From the bytes of a body to JSON in UTF-8: compressed bodies, other charsets, byte order marks, halves of surrogate pairs."""

import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

from jaxembed.server.errors import HttpError

# How compressed bodies are told apart; both also by the name that HTTP/1.0 had for them.
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
# So much of a body is decompressed at a time: some milliseconds, in a thread, between two looks at how much there is.
_PART_BYTES = 1 << 20
# What clients declare besides UTF-8, under Python's names. Nothing that is not a charset of text, and nothing exotic.
_CHARSETS = {
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "latin-1": "latin-1",
    "iso-8859-15": "iso8859-15",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "utf-32": "utf-32",
}
_UTF8 = ("", "utf-8", "utf8", "us-ascii", "ascii")
_BOM = b"\xef\xbb\xbf"
_OTHER_BOMS = (b"\xff\xfe", b"\xfe\xff")
_SURROGATES = re.compile("[\ud800-\udfff]")


def decompressor(encoding: str) -> Any:
    """Returns what decompresses a body of a `Content-Encoding`, None for one that is not compressed.

    Raises `HttpError` 415 for an encoding that is not known.
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name not in _WINDOWS:
        raise HttpError(
            415,
            f"The body has Content-Encoding: {encoding[:80]}; it may be gzip, deflate, or not compressed at all.",
            headers={"Accept-Encoding": "gzip, deflate"},
        )
    return zlib.decompressobj(_WINDOWS[name])


def decompressed(stream: Any, data: bytes, *, last: bool) -> Iterator[bytes]:
    """Yields the decompressed bytes of a part of a body, little by little, so that nobody's bomb is ever whole.

    Args:
        stream: of `decompressor`.
        data: the next part that arrived.
        last: whether it is the last one.

    Raises:
        HttpError: 400 for what is not compressed so, or ends too early.
    """
    try:
        while data:
            yield stream.decompress(data, _PART_BYTES)
            data = stream.unconsumed_tail
    except zlib.error as error:
        raise HttpError(400, f"The body is not what its Content-Encoding says: {error}.") from None
    if stream.unused_data:
        raise HttpError(400, "Behind the compressed body there is something else.")
    if last and not stream.eof:
        raise HttpError(400, "The compressed body ends too early.")


def charset_of(content_type: str) -> str:
    """Returns the charset that a `Content-Type` declares, lower case, "" for none."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip("\"'").lower()
    return ""


def as_utf8(body: bytes, charset: str) -> bytes:
    """Returns a body in UTF-8, without a byte order mark.

    Args:
        body: as it arrived.
        charset: what the request declares, "" for nothing.

    Raises:
        HttpError: 415 for a charset that is not known, 400 for bytes that are not of it.
    """
    if charset not in _UTF8:
        if charset not in _CHARSETS:
            raise HttpError(415, f"The body has the charset {charset[:80]!r}, which is not known here. Send JSON as UTF-8.")
        try:
            return body.decode(_CHARSETS[charset]).removeprefix("\ufeff").encode()
        except UnicodeError as error:
            raise HttpError(400, f"The body is not {charset}, as it says it is: {error.args[-1]}.") from None
    return body.removeprefix(_BOM)


def why_not_utf8(body: bytes) -> str | None:
    """Returns what is wrong with bytes that should be UTF-8, None if they are."""
    if body.startswith(_OTHER_BOMS):
        return "The body is UTF-16. Send JSON as UTF-8, or say charset=utf-16 in Content-Type."
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return (
            f"The body is not UTF-8: the byte 0x{body[error.start]:02x} at {error.start} is not part of a character. "
            "Send JSON as UTF-8, or name its charset in Content-Type."
        )
    return None


def without_half_pairs(body: bytes) -> Any:
    r"""Returns the JSON value of a body in which escapes like \ud83d stand alone, U+FFFD in the place of each.

    RFC 8259 allows them and JavaScript writes them for half an emoji; no tokenizer takes them. U+FFFD is what browsers and
    tiktoken make of them.

    Raises:
        ValueError: it is no JSON for another reason.
    """
    if b"\\ud" not in body and b"\\uD" not in body:
        raise ValueError("nothing in it stands for half a pair")
    try:
        return _whole(json.loads(body.decode(), parse_constant=_no_constant))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(each) for key, each in value.items()}
    return value
