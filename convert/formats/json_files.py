"""The small JSON files of a checkpoint, read with errors that name the file."""

import json
import math
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from jaxembed.errors import CheckpointError, shown


def is_there(path: Path) -> bool:
    """Returns whether there is a file.

    Raises `CheckpointError` for what only stands in its place, such as a link that leads nowhere: an optional file that is
    meant to be there and cannot be read is not one that is absent.
    """
    try:
        path.lstat()
        if path.is_file():
            return True
        what = "a link that leads nowhere" if path.is_symlink() and not path.exists() else "no file"
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        # A zero byte, or a lone surrogate.
        raise CheckpointError(f"{str(path)!r} is no name of a file: {error}.") from None
    raise CheckpointError(f"{path} is {what}; download the whole checkpoint.")


# A model has some ten.
_MOST_MODULES = 1000
# Of a small file; the index of a thousand shards takes some MiB, and JSON some ten times as much in memory as on a disk.
_MOST_BYTES = 32 << 20


def read_text(path: Path) -> str | None:
    """Returns what a text file holds, None if there is no file. Raises `CheckpointError` for one that cannot be read."""
    if not is_there(path):
        return None
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise CheckpointError(f"{path} has {size:,} bytes, and no more than {_MOST_BYTES:,} are read; download it again.")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path} is not text in UTF-8: {error}.") from None


def read_json(path: Path, of: type = dict) -> Any:
    """Returns what a JSON file holds, None if there is no file.

    of: dict or list, what it should hold. Raises `CheckpointError` for anything else, and for a file that cannot be read.
    """
    text = read_text(path)
    if text is None:
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}.") from None
    except RecursionError:
        raise CheckpointError(f"{path} is not JSON that can be read: it is nested too deeply.") from None
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
    if len(listed) > _MOST_MODULES:
        raise CheckpointError(f"{path} lists {len(listed):,} modules, and no model has more than {_MOST_MODULES}.")
    try:
        found = [(str(module["path"]), str(module["type"])) for module in listed]
    except (KeyError, TypeError):
        raise CheckpointError(f"{path} should list objects with 'path' and 'type'.") from None
    # "." and "0_Transformer/" are other words for the main folder and for one in it.
    return [(str(PurePosixPath(inside(place, path))).removeprefix("."), type_) for place, type_ in found]


def transformer_place(folder: Path) -> str:
    """Returns the folder of a checkpoint that holds its `config.json`, backbone and tokenizer, "" for the main one.

    Before sentence-transformers 2 that was a folder of its own, such as "0_Transformer" or "0_BERT". Static embeddings have no
    config there.
    """
    place, type_ = next(iter(read_modules(folder) or ()), ("", ""))
    return "" if type_.endswith(".StaticEmbedding") else place


def inside(place: str, said_by: Path) -> str:
    """Returns the path of a part of a checkpoint. Raises `CheckpointError` if it leads out of the checkpoint's folder."""
    path = PurePosixPath(place)
    if path.is_absolute() or ".." in path.parts:
        raise CheckpointError(f"{said_by} names {shown(place)}, which lies outside the checkpoint's folder.")
    return place


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the path of a new file beside `path`, which takes its place at the end, or is removed if that is not reached.

    The name is its own: two runs may write the same file, what else lies there is not ours, and a link in a hub's cache is
    replaced instead of what other revisions share.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def mapping(found: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    """Returns the object under a key of a file, empty where there is none. Raises `CheckpointError` for anything else."""
    value = found.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise CheckpointError(f"{key} of {path} should be an object, not {shown(value)}.")
    return value or {}


def is_real(value: Any) -> bool:
    """Whether a JSON value is a number; true and false are none, nor is what no float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def is_whole(value: Any) -> bool:
    """Whether a JSON value is a whole number, however it is written."""
    return is_real(value) and value == int(value)


def whole_number(found: Mapping[str, Any], key: str, path: Path) -> int | None:
    """Returns the number of dimensions or tokens under a key of a file, None where there is none.

    Raises `CheckpointError` for anything but a whole number above 0.
    """
    value = found.get(key)
    if value is None:
        return None
    if not is_whole(value) or value < 1:
        raise CheckpointError(f"{key} of {path} should be a whole number above 0, not {shown(value)}.")
    return int(value)


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    # A name may be longer than anyone wants to read.
    shown = str(path) if len(str(path)) <= 300 else f"{str(path)[:300]}..."
    return CheckpointError(f"{shown} cannot be read: {error.strerror}.")
