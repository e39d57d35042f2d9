"""The small JSON files of a checkpoint, read with errors that name the file."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from jaxembed.errors import CheckpointError


def read_json(path: Path, of: type = dict) -> Any:
    """Returns what a JSON file holds, None if there is no file.

    of: dict or list, what it should hold. Raises `CheckpointError` for anything else.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from None
    if not isinstance(content, of):
        raise CheckpointError(f"{path} should hold a JSON {'list' if of is list else 'object'}.")
    return content


def read_modules(folder: Path) -> list[tuple[str, str]] | None:
    """Returns path and type of each module that `modules.json` lists, None if there is no such file.

    Raises `CheckpointError` for a list of anything else, and for a path that leads out of the folder.
    """
    path = folder / "modules.json"
    listed = read_json(path, of=list)
    if listed is None:
        return None
    try:
        found = [(str(module["path"]), str(module["type"])) for module in listed]
    except (KeyError, TypeError):
        raise CheckpointError(f"{path} should list objects with 'path' and 'type'.") from None
    return [(inside(place, path), type_) for place, type_ in found]


def inside(place: str, said_by: Path) -> str:
    """Returns the path of a part of a checkpoint. Raises `CheckpointError` if it leads out of the checkpoint's folder."""
    path = PurePosixPath(place)
    if path.is_absolute() or ".." in path.parts:
        raise CheckpointError(f"{said_by} names {place!r}, which lies outside the checkpoint's folder.")
    return place
