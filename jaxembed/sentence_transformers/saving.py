"""Saving a model as sentence-transformers does: the checkpoint's files, with what the user set written into them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxembed.convert.formats.json_files import read_json, replacing
from jaxembed.errors import InputError

SETTINGS = "config_sentence_transformers.json"


def save(source: Path, target: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Copies the folder of a model and merges what was set into its JSON files.

    Args:
        source: the folder.
        target: where to; may be the same.
        changes: keys and values, by the name of the file.

    Raises:
        InputError: the target lies inside the source, or cannot be written.
    """
    here, there = source.resolve(), target.resolve()
    if here in there.parents:
        raise InputError(f"{target} lies inside the folder of the model; save it elsewhere.", field="path")
    try:
        if here != there:
            shutil.copytree(source, target, dirs_exist_ok=True)
        for name, values in changes.items():
            _merge(target / name, values)
    except OSError as error:
        raise InputError(f"the model cannot be saved to {target}: {error.strerror or error}.", field="path") from None


def _merge(path: Path, values: Mapping[str, Any]) -> None:
    text = json.dumps({**(read_json(path) or {}), **values}, indent=2, ensure_ascii=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
