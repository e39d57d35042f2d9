"""Arrays in an Orbax checkpoint: written piece by piece, restored straight onto their devices.

The arrays are a plain Orbax tree in the file layout without OCDBT, one zarr folder for each, so that Orbax itself, or zarr,
reads them back without jaxembed. Orbax writes arrays that are whole in memory; a handler for a type of our own, which is
how Orbax is meant to be extended, writes ours one layer at a time. A chunk without compression is a file of plain bytes (zarr
v2), so the handler writes it itself: tensorstore takes 2.1 s of processor time for a gigabyte, a plain write 0.3 s (x86, two
cores, tensorstore 0.1.86). Knows nothing about models.
"""

import hashlib
import itertools
import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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

# Bytes of a zarr chunk at most: what a device that wants a part must read beyond it. Arrays that are smaller than the second,
# norms and biases, are one chunk with all their layers, for hundreds of tiny files would cost more than they hold.
_CHUNK, _SMALL = 32 << 20, 1 << 20
# Bytes that may wait to be written or digested while the next piece is read; a piece that waits for both counts twice.
_WAITING = 256 << 20
# Bytes restored together: enough to keep a disk busy, few enough that cutting stacks into layers needs little beside the model.
_TOGETHER = 1 << 30


@dataclass
class Pieces:
    """An array that does not exist yet: its layers one after the other if it is `stacked`, else one piece that is all of it.

    each: gives the pieces in order. digest: sha256 of the bytes in that order, filled in while they are written.
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

    def chunks(self) -> list[int]:
        """The shape of a zarr chunk: all of a small array, else as many rows of one layer as fit."""
        whole = [max(size, 1) for size in self.shape]
        if self.size * self.dtype.itemsize <= _SMALL:
            return whole
        rows = 1 if self.stacked else 0
        if rows == len(whole):
            return [1]
        row = int(np.prod(whole[rows + 1 :])) * self.dtype.itemsize
        # Even parts, a power of two of them, so that devices that share the axis cut it between chunks.
        parts = 1 << (-(-whole[rows] * row // _CHUNK) - 1).bit_length()
        return [1] * rows + [-(-whole[rows] // min(parts, whole[rows])), *whole[rows + 1 :]]


class _PiecesHandler(ocp.type_handlers.TypeHandler):
    """Writes `Pieces` as zarr arrays without compression; they are read back as what they have become, arrays."""

    def typestr(self) -> str:
        return "np.ndarray"

    async def metadata(self, infos: Any) -> Any:
        raise NotImplementedError("pieces are only ever written")

    async def deserialize(self, infos: Any, args: Any = None) -> Any:
        raise NotImplementedError("pieces are only ever written")

    async def serialize(self, values: Sequence[Pieces], infos: Any, args: Any = None) -> list[Any]:
        for info in infos:
            await info.await_path_creation()
        with _Behind() as behind:
            for value, info in zip(values, infos, strict=True):
                _write_array(Path(info.path), value, behind)
        return []


class _Behind:
    """Threads that write and digest what has been read, with a bound on what waits for them."""

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(2, thread_name_prefix="jaxembed-write")
        self._digester = ThreadPoolExecutor(1, thread_name_prefix="jaxembed-digest")
        self._waiting: deque[tuple[int, Future[None]]] = deque()

    def __enter__(self) -> "_Behind":
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self._wait_for(0)
        self._writer.shutdown(cancel_futures=True)
        self._digester.shutdown(cancel_futures=True)

    def write(self, path: Path, content: np.ndarray, size: int) -> None:
        """Writes the bytes of an array to a new file of `size` bytes, zeros behind them, at once or when its turn comes."""
        self._wait_for(_WAITING - size)
        self._waiting.append((size, self._writer.submit(_write_file, path, content, size)))

    def digest(self, digest: Any, content: np.ndarray) -> None:
        """Updates a digest; one after the other."""
        self._wait_for(_WAITING - content.nbytes)
        self._waiting.append((content.nbytes, self._digester.submit(digest.update, _bytes(content))))

    def after_digests(self, call: Callable[[], None]) -> None:
        """Calls when all digests asked for so far are done."""
        self._waiting.append((0, self._digester.submit(call)))

    def _wait_for(self, room: int) -> None:
        """Waits until no more than `room` bytes wait; what failed is raised."""
        while self._waiting and (sum(size for size, _ in self._waiting) > room or self._waiting[0][1].done()):
            self._waiting.popleft()[1].result()


def _write_array(folder: Path, value: Pieces, behind: _Behind) -> None:
    folder.mkdir(parents=True)
    chunks = value.chunks()
    about = {
        "zarr_format": 2,
        "shape": list(value.shape),
        "chunks": chunks,
        "dtype": value.dtype.name if value.dtype.kind == "V" else value.dtype.str,
        "compressor": None,
        "fill_value": None,
        "filters": None,
        "order": "C",
        "dimension_separator": ".",
    }
    (folder / ".zarray").write_text(json.dumps(about))
    digest = hashlib.sha256()
    size = int(np.prod(chunks)) * value.dtype.itemsize
    if value.stacked and chunks == list(value.shape):
        whole = np.stack(list(value.each()))
        pieces: Iterator[tuple[tuple[int, ...], np.ndarray]] = iter([((), whole)])
    else:
        pieces = (((index,) if value.stacked else (), piece) for index, piece in enumerate(value.each()))
    for place, piece in pieces:
        behind.digest(digest, piece)
        rows = chunks[len(place)] if piece.ndim else 1
        flat = _bytes(piece)
        for number in range(-(-len(piece) // rows) if piece.ndim else 1):
            index = (*place, number) if piece.ndim else place
            name = ".".join(map(str, (*index, *[0] * (len(value.shape) - len(index))))) or "0"
            behind.write(folder / name, flat[number * size : (number + 1) * size], size)
        value.progress(piece.nbytes)
    behind.after_digests(lambda: setattr(value, "digest", digest.hexdigest()))


def _write_file(path: Path, content: np.ndarray, size: int) -> None:
    with path.open("wb") as file:
        file.write(content)
        if content.nbytes < size:
            file.write(bytes(size - content.nbytes))
        file.flush()
        os.fsync(file.fileno())


def _bytes(content: np.ndarray) -> np.ndarray:
    return content.reshape(-1).view(np.uint8)


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
