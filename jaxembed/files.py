"""The small JSON files of a checkpoint, read with errors that name the file."""

import json
from pathlib import Path
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
