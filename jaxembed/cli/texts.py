"""Texts from files: one a line, or JSON lines. What is another format is refused by its name, never read as lines."""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxembed.errors import InputError

_JSON_LINES = (".jsonl", ".ndjson")
# What would be embedded line by line, header, brackets and all, if it were read as text.
_OTHER = {
    **dict.fromkeys((".csv", ".tsv", ".tab", ".psv"), "a table"),
    **dict.fromkeys((".json", ".json5", ".geojson"), "a JSON document; if it has an object on each line, name it .jsonl"),
    **dict.fromkeys((".yaml", ".yml", ".toml", ".xml", ".html", ".htm"), "a structured document"),
    **dict.fromkeys((".parquet", ".arrow", ".feather", ".orc", ".avro", ".lance"), "a table of columns"),
    **dict.fromkeys((".xls", ".xlsx", ".ods", ".numbers"), "a spreadsheet"),
    **dict.fromkeys((".pdf", ".doc", ".docx", ".odt", ".rtf", ".epub", ".pptx"), "a document"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3", ".duckdb"), "a database"),
    **dict.fromkeys((".npy", ".npz", ".pkl", ".pickle", ".pt", ".safetensors", ".h5", ".hdf5"), "binary data"),
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".zip", ".tar", ".tgz", ".7z", ".lz4"), "compressed; unpack it first"),
}
# How JSON lines begin on standard input, where no file name tells them from plain text.
_OBJECT = re.compile(r'\s*\{\s*"')
# And how one JSON document begins that is laid out over several lines, or an array of objects.
_DOCUMENT = re.compile(r"\s*(\{|\[\s*(\{.*)?)\s*$")


@dataclass(frozen=True, slots=True)
class Line:
    """One text.

    Attributes:
        text: it.
        number: of its line, from 1; None for one that is in no file.
        fields: all that its line of JSON holds; None for plain text.
    """

    text: str
    number: int | None
    fields: Mapping[str, Any] | None = None


def shown_name(name: str) -> str:
    """Returns what a file is called in messages."""
    return "standard input" if name == "-" else name


def read_lines(name: str) -> Iterator[Line]:
    """Yields the texts of a file, or of standard input for "-".

    An empty line is an empty text, so rows stay lines; between JSON lines it is nothing.

    Raises:
        InputError: it is not there, not UTF-8, of a format that is not read, or has a line without a text.
    """
    suffix = Path(name).suffix.lower()
    if suffix in _OTHER:
        raise _not_read(name, _OTHER[suffix])
    try:
        if name == "-":
            yield from _parse(sys.stdin, name, json_lines=None)
            return
        with open(name, encoding="utf-8") as lines:
            yield from _parse(lines, name, json_lines=suffix in _JSON_LINES)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown_name(name)} is not UTF-8 text: {error.reason} at byte {error.start}.", field="--input"
        ) from None
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}.", field="--input") from None


def _not_read(name: str, what: str) -> InputError:
    return InputError(
        f"{shown_name(name)} is {what}. What is read is plain text, one text a line, or JSON lines (.jsonl), each a string or "
        "an object with a 'text'.",
        field="--input",
    )


def _parse(lines: Iterable[str], name: str, json_lines: bool | None) -> Iterator[Line]:
    blank = 0  # lines before the first one that tells the kind
    for number, raw in enumerate(lines, 1):
        line = (raw.removeprefix("\ufeff") if number == 1 else raw).rstrip("\n").rstrip("\r")
        if json_lines is None:
            if not line.strip():
                blank += 1
                continue
            if _DOCUMENT.match(line):
                raise _not_read(name, "a JSON document, it seems")
            json_lines = _OBJECT.match(line) is not None
            yield from [Line("", before) for before in range(1, (0 if json_lines else blank) + 1)]
        if not json_lines:
            yield Line(line, number)
        elif line.strip():
            yield _line_of(line, name, number)
    if json_lines is None:
        yield from [Line("", before) for before in range(1, blank + 1)]


def _line_of(line: str, name: str, number: int) -> Line:
    place = f"{shown_name(name)}, line {number}"
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is not JSON: {error}.", field="--input") from None
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise InputError(f"{place} has no text: expected a JSON string, or an object with a string 'text'.", field="--input")
    return Line(text, number, value if isinstance(value, dict) else None)
