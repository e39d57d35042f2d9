"""Arrays in an Orbax checkpoint: made empty, restored straight onto their devices, read one layer at a time.

The arrays are a plain Orbax tree in the file layout without OCDBT, one zarr folder for each, so that Orbax itself, or zarr,
reads them back without jaxembed. Orbax writes arrays that are whole in memory; a handler for a type of our own, which is
how Orbax is meant to be extended, writes only what each array will be, and `writing` fills them. Knows nothing about models.
"""

import itertools
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from jaxembed.convert.formats.json_files import is_there, read_json
from jaxembed.convert.formats.tensors import DTYPES
from jaxembed.convert.orbax.writing import Outline
from jaxembed.errors import CheckpointError, InputError

# Bytes restored together: enough to keep a disk busy, few enough that cutting stacks into layers needs little beside the model.
_TOGETHER = 1 << 30


class _OutlineHandler(ocp.type_handlers.TypeHandler):
    """Makes the folders of zarr arrays without compression; they are read back as what they will have become, arrays."""

    def typestr(self) -> str:
        return "np.ndarray"

    async def metadata(self, infos: Any) -> Any:
        raise NotImplementedError("outlines are only ever written")

    async def deserialize(self, infos: Any, args: Any = None) -> Any:
        raise NotImplementedError("outlines are only ever written")

    async def serialize(self, values: Sequence[Outline], infos: Any, args: Any = None) -> list[Any]:
        for value, info in zip(values, infos, strict=True):
            await info.await_path_creation()
            about = {
                "zarr_format": 2,
                "shape": list(value.shape),
                "chunks": value.chunks(),
                "dtype": value.dtype.name if value.dtype.kind == "V" else value.dtype.str,
                "compressor": None,
                "fill_value": None,
                "filters": None,
                "order": "C",
                "dimension_separator": ".",
            }
            Path(info.path).mkdir(parents=True)
            (Path(info.path) / ".zarray").write_text(json.dumps(about))
        return []


def create(folder: Path, arrays: Mapping[str, Outline]) -> None:
    """Makes a new Orbax checkpoint whose arrays a `Writer` then fills. Paths are dotted.

    Raises `InputError` where the disk does not take it.
    """
    registry = ocp.type_handlers.create_type_handler_registry((Outline, _OutlineHandler()))
    try:
        with _quiet(), _checkpointer(type_handler_registry=registry) as checkpointer:
            checkpointer.save(folder.absolute(), args=ocp.args.PyTreeSave(_nested(dict(arrays))))
    # tensorstore says what the file system said in a ValueError.
    except (OSError, ValueError) as error:
        raise InputError(f"{folder.parent} cannot be written: {_short(error)}.", field="out") from None


def restore(folder: Path, arrays: Mapping[str, tuple[int, Any, jax.sharding.Sharding]]) -> Iterator[tuple[str, jax.Array]]:
    """Yields each array as it is restored, on the devices of its sharding.

    arrays: for each path, which `check` has seen, its bytes, the type it shall have and its sharding. Only what each device
    holds is read for it. Raises `CheckpointError` if the files are damaged or incomplete.
    """
    try:
        with _quiet(), _checkpointer() as checkpointer:
            for group in _groups(arrays):
                item = {path: jax.ShapeDtypeStruct((), arrays[path][1]) for path in group}
                how = {path: ocp.ArrayRestoreArgs(dtype=arrays[path][1], sharding=arrays[path][2]) for path in group}
                wanted = ocp.args.PyTreeRestore(_nested(item), restore_args=_nested(how), partial_restore=True)
                restored = checkpointer.restore(folder.absolute(), args=wanted)
                for path in group:
                    yield path, _taken(restored, path)
    # Orbax turns what tensorstore says of a chunk into a bare Exception.
    except Exception as error:  # noqa: BLE001
        raise _damaged(folder, error.__cause__ or error.__context__ or error) from None


def read(folder: Path, path: str, layer: int | None = None) -> np.ndarray:
    """Returns one array, or one layer of a stacked one, on the host. Raises `CheckpointError` if it is damaged."""
    spec = {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{folder.absolute() / path}/"},
        "fill_missing_data_reads": False,
    }
    try:
        array = tensorstore.open(spec, open=True, read=True).result()
        value: np.ndarray = (array if layer is None else array[layer]).read().result()
    except (OSError, ValueError) as error:
        raise _damaged(folder, error) from None
    return value


def check(folder: Path, arrays: Mapping[str, tuple[tuple[int, ...], str]]) -> None:
    """Raises `CheckpointError` for arrays that are not there as they were written: what is read later is files of known sizes.

    Asked before anything is opened: tensorstore waits for ever at a pipe and reads whatever a chunk holds, and Orbax, after one
    chunk that cannot be read, leaves others unread with warnings of its own.

    Args:
        folder: the Orbax checkpoint.
        arrays: shape and type of each by its path.
    """
    try:
        for each in sorted(folder.rglob("*")):
            if not (each.is_dir() and not each.is_symlink()):
                is_there(each)
        for path, (shape, dtype) in arrays.items():
            _check_array(folder, path, shape, dtype)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder, error) from None


def _check_array(folder: Path, path: str, shape: tuple[int, ...], dtype: str) -> None:
    about = read_json(folder / path / ".zarray") or {}
    chunks = about["chunks"]
    plain = all(about[key] is None for key in ("compressor", "filters")) and about["order"] == "C"
    fits = len(chunks) == len(shape) and all(0 < part <= max(size, 1) for part, size in zip(chunks, shape, strict=False))
    if tuple(about["shape"]) != shape or _zarr_dtype(about["dtype"]) != DTYPES[dtype] or not (plain and fits):
        raise ValueError(f"{path}/.zarray is not what was written")
    size = math.prod(chunks) * DTYPES[dtype].itemsize
    for index in itertools.product(*(range(-(-whole // part)) for whole, part in zip(shape, chunks, strict=True))):
        name = ".".join(map(str, index)) or "0"
        if (folder / path / name).stat().st_size != size:
            raise ValueError(f"{path}/{name} has not the bytes that were written")


def _zarr_dtype(name: str) -> np.dtype:
    """The type that a zarr file names: numpy's way, or by the name of one of ml_dtypes' types."""
    return DTYPES[name] if name in DTYPES else np.dtype(name)


def _checkpointer(**options: Any) -> ocp.Checkpointer:
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=False, **options))


def _groups(arrays: Mapping[str, tuple[int, Any, Any]]) -> Iterator[list[str]]:
    group: list[str] = []
    for path in arrays:
        if group and sum(arrays[one][0] for one in (*group, path)) > _TOGETHER:
            yield group
            group = []
        group.append(path)
    if group:
        yield group


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, name = path.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return tree


def _taken(tree: dict[str, Any], path: str) -> Any:
    """Takes a leaf out of a nested tree, so that whoever gets it is the only one that holds it."""
    *parents, name = path.split(".")
    for parent in parents:
        tree = tree[parent]
    return tree.pop(name)


def _damaged(folder: Path, error: BaseException) -> CheckpointError:
    return CheckpointError(f"{folder} is damaged or incomplete ({_short(error)}); convert the checkpoint again.")


def _short(error: BaseException) -> str:
    """What a file system's error says, without tensorstore's account of where it happened."""
    reason = getattr(error, "strerror", None) or str(error)
    for known in (
        "No space left on device",
        "File too large",
        "Permission denied",
        "Disk quota exceeded",
        "Read-only file system",
    ):
        if known in reason:
            return known.lower()
    return " ".join(reason.split())[:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Orbax, which tells of every step, to its errors."""
    told = logging.getLogger("absl")
    before = told.level
    told.setLevel(logging.ERROR)
    try:
        yield
    finally:
        told.setLevel(before)
