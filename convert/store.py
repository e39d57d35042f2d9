"""Arrays in an Orbax checkpoint: written piece by piece, restored straight onto their devices.

The arrays are a plain Orbax tree in the file layout without OCDBT, one zarr folder for each, so that Orbax itself, or zarr,
reads them back without jaxembed. Orbax writes arrays that are whole in memory; a handler for a type of our own, which is
how Orbax is meant to be extended, writes ours one layer at a time. Knows nothing about models.
"""

import asyncio
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from jaxembed.convert.stored import DTYPES
from jaxembed.errors import CheckpointError, InputError

# Bytes of a zarr chunk at most: what a device that wants a part must read beyond it, and what is compressed or kept at once.
_CHUNK = 32 << 20
# Bytes that may wait to be written while the next piece is read.
_WAITING = 128 << 20
# Bytes restored together: enough to keep a disk busy, few enough that cutting stacks into layers needs little beside the model.
_TOGETHER = 1 << 30


@dataclass
class Pieces:
    """An array that does not exist yet: its layers one after the other if it is `stacked`, else one piece that is all of it.

    each: gives the pieces in order. digest: of the bytes in that order, filled in while they are written.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    stacked: bool
    each: Callable[[], Iterator[np.ndarray]]
    progress: Callable[[int], None]
    digest: str = ""

    @property
    def size(self) -> int:
        """How many numbers."""
        return int(np.prod(self.shape))


class _PiecesHandler(ocp.type_handlers.TypeHandler):
    """Writes `Pieces`; they are read back as what they have become, arrays."""

    def typestr(self) -> str:
        return "np.ndarray"

    async def metadata(self, infos: Any) -> Any:
        raise NotImplementedError("pieces are only ever written")

    async def deserialize(self, infos: Any, args: Any = None) -> Any:
        raise NotImplementedError("pieces are only ever written")

    async def serialize(self, values: Sequence[Pieces], infos: Any, args: Any = None) -> list[Any]:
        for value, info in zip(values, infos, strict=True):
            await info.await_path_creation()
            spec = {
                "driver": "zarr",
                "kvstore": {"driver": "file", "path": f"{info.path}/"},
                "dtype": value.dtype.name,
                "metadata": {"shape": value.shape, "chunks": _chunks(value), "compressor": None},
            }
            array = await tensorstore.open(spec, create=True, context=info.ts_context)
            await _write(array, value)
        return []


async def _write(array: Any, value: Pieces) -> None:
    """Writes the pieces in turn while the next one is read, and digests them."""
    waiting: list[tuple[Any, int]] = []
    digest = hashlib.sha256()
    for index, piece in enumerate(value.each()):
        target = array[index] if value.stacked else array
        waiting.append((target.write(piece, can_reference_source_data_indefinitely=True), piece.nbytes))
        digest.update(piece.reshape(-1).view(np.uint8))
        while len(waiting) > 1 and sum(size for _, size in waiting) > _WAITING:
            await waiting.pop(0)[0]
        value.progress(piece.nbytes)
        # Lets what has been written be let go before the next piece is read.
        await asyncio.sleep(0)
    for writing, _ in waiting:
        await writing
    value.digest = digest.hexdigest()


def _chunks(value: Pieces) -> list[int]:
    """One layer at a time, and of what is larger as many leading rows as fit; even parts, so that devices cut at chunks."""
    chunks = [1 if value.stacked and axis == 0 else size for axis, size in enumerate(value.shape)]
    axis = 1 if value.stacked else 0
    while axis < len(chunks) and np.prod(chunks) * value.dtype.itemsize > _CHUNK:
        parts = -(-int(np.prod(chunks)) * value.dtype.itemsize // _CHUNK)
        # Powers of two divide what several devices divide.
        chunks[axis] = -(-chunks[axis] // min(1 << (parts - 1).bit_length(), chunks[axis]))
        axis += 1
    return [max(size, 1) for size in chunks]


def write(folder: Path, arrays: Mapping[str, Pieces]) -> None:
    """Writes arrays to a new Orbax checkpoint. Paths are dotted. Raises `InputError` where the disk does not take them."""
    registry = ocp.type_handlers.create_type_handler_registry((Pieces, _PiecesHandler()))
    try:
        with _quiet(), _checkpointer(type_handler_registry=registry) as checkpointer:
            checkpointer.save(folder.absolute(), args=ocp.args.PyTreeSave(_nested(dict(arrays))))
    # tensorstore says what the file system said in a ValueError.
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise InputError(f"{folder.parent} cannot be written: {_short(error)}.") from None


def restore(folder: Path, arrays: Mapping[str, tuple[int, Any, jax.sharding.Sharding]]) -> Iterator[tuple[str, jax.Array]]:
    """Yields each array as it is restored, on the devices of its sharding.

    arrays: for each path its bytes, the type it shall have and its sharding. Only what each device holds is read for it.
    Raises `CheckpointError` if the files are damaged or incomplete.
    """
    for path in arrays:
        _check_whole(folder, path)
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


def _check_whole(folder: Path, path: str) -> None:
    """Raises `CheckpointError` if a chunk of an array is missing or has not the size of a chunk: none is compressed.

    Asked before Orbax is, which after one chunk that cannot be read leaves others unread with warnings of its own.
    """
    try:
        about = json.loads((folder / path / ".zarray").read_text())
        shape, chunks = about["shape"], about["chunks"]
        size = int(np.prod(chunks)) * _zarr_dtype(about["dtype"]).itemsize
        for index in itertools.product(*(range(-(-whole // part)) for whole, part in zip(shape, chunks, strict=True))):
            name = ".".join(map(str, index)) or "0"
            if (folder / path / name).stat().st_size != size:
                raise ValueError(f"{path}/{name} was cut short")
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(folder, error) from None


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
