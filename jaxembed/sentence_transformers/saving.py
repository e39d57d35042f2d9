"""Saving a model as sentence-transformers does: the checkpoint's files, with what the user set written into them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxembed.convert.formats.json_files import read_json, replacing
from jaxembed.errors import InputError
from jaxembed.heads.recipe import Recipe
from jaxembed.sentence_transformers.modules import POOLING_FLAGS

SETTINGS = "config_sentence_transformers.json"


def save(source: Path, target: Path, changes: Mapping[str, Any]) -> None:
    """Copies the folder of a model and merges what was set into its JSON files.

    Args:
        source: the folder.
        target: where to; may be the same.
        changes: keys and values, or a whole list, by the name of the file.

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


def modules_files(recipe: Recipe, width: int) -> dict[str, Any]:
    """Returns what sentence-transformers writes of the modules of a model that was loaded from a plain folder, by file.

    recipe: how its vectors are made. width: of a token's vector.
    """
    base = "sentence_transformers.models"
    names = ["Transformer", "Pooling", *(["Normalize"] if recipe.normalize else [])]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{name}" if i else "", "type": f"{base}.{name}"} for i, name in enumerate(names)
    ]
    flags = {flag: mode in recipe.modes for flag, mode in POOLING_FLAGS.items()}
    pooling = {"word_embedding_dimension": width, **flags, "include_prompt": recipe.include_prompt}
    return {"modules.json": modules, "1_Pooling/config.json": pooling}


def changed_pooling(before: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Returns what of a Pooling module's settings is no longer what the file says, in the words that the file has."""
    now: dict[str, Any] = {"include_prompt": recipe.include_prompt}
    if "pooling_mode" in before:
        modes = before["pooling_mode"]
        if (tuple(modes) if isinstance(modes, list) else (modes,)) != recipe.modes:
            now["pooling_mode"] = recipe.modes[0] if len(recipe.modes) == 1 else list(recipe.modes)
    elif any(before.get(flag) for flag in POOLING_FLAGS) or recipe.modes != ("mean",):
        now |= {flag: mode in recipe.modes for flag, mode in POOLING_FLAGS.items()}
    unsaid = {"include_prompt": True}
    return {name: value for name, value in now.items() if before.get(name, unsaid.get(name, False)) != value}


def _merge(path: Path, values: Any) -> None:
    if isinstance(values, Mapping):
        values = {**(read_json(path) or {}), **values}
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(values, indent=2, ensure_ascii=False)
    with replacing(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
