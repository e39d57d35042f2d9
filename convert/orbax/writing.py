"""The chunks of an Orbax checkpoint's arrays, written as the pieces of a model come, in whatever order that is.

A chunk without compression is a file of plain bytes (zarr v2), so it is written here and not by tensorstore, which takes 2.1 s
of processor time for a gigabyte where a plain write takes 0.3 s, and one past the system's cache of files, on file systems that
have such a way, 0.05 s (x86, two cores, tensorstore 0.1.86).
"""

import errno
import os
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from jaxembed.convert.formats.tensors import PAGE, as_bytes

# Bytes of a zarr chunk at most: what a device that wants a part must read beyond it. Arrays that are smaller than the second,
# norms and biases, are one chunk with all their layers, for hundreds of tiny files would cost more than they hold.
_CHUNK, _SMALL = 32 << 20, 1 << 20
# Bytes that may wait to be written while the next pieces are read.
_WAITING = 128 << 20
_DIRECT = getattr(os, "O_DIRECT", 0)


@dataclass(frozen=True)
class Outline:
    """An array that does not exist yet. Its pieces are its layers if it is `stacked`, else the one that is all of it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    stacked: bool

    @property
    def nbytes(self) -> int:
        """The bytes of all its numbers."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return self.shape[0] if self.stacked else 1

    def chunks(self) -> list[int]:
        """The shape of a zarr chunk: all of a small array, else as many rows of one layer as fit."""
        whole = [max(size, 1) for size in self.shape]
        if self.nbytes <= _SMALL:
            return whole
        rows = 1 if self.stacked else 0
        row = int(np.prod(whole[rows + 1 :])) * self.dtype.itemsize
        # Even parts, a power of two of them, so that devices that share the axis cut it between chunks.
        parts = 1 << (-(-whole[rows] * row // _CHUNK) - 1).bit_length()
        return [1] * rows + [-(-whole[rows] // min(parts, whole[rows])), *whole[rows + 1 :]]


class Writer:
    """Writes pieces to the folders that `store.create` has made, in threads of its own; all is on the disk when the block ends.

    progress: called with the bytes of each piece that is put. One thread at a time puts, and changes no piece any more.
    """

    def __init__(self, folder: Path, arrays: Mapping[str, Outline], progress: Callable[[int], object]) -> None:
        self._folder, self._arrays, self._progress = folder, arrays, progress
        self._digests: dict[str, list[bytes]] = {path: [b""] * outline.pieces for path, outline in arrays.items()}
        self._gathered: dict[str, list[np.ndarray | None]] = {}
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="jaxembed-write")
        self._waiting: deque[tuple[int, Future[None]]] = deque()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, type_: type[BaseException] | None, *exception: object) -> None:
        try:
            if type_ is None:
                self._wait_for(0)
                self._settle()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def put(self, path: str, index: int, piece: np.ndarray) -> None:
        """Writes one piece of an array when its turn comes. Raises what the system said of those before it."""
        self._wait_for(_WAITING - piece.nbytes)
        self._progress(piece.nbytes)
        outline = self._arrays[path]
        if outline.stacked and outline.chunks() == list(outline.shape):
            gathered = self._gathered.setdefault(path, [None] * outline.pieces)
            gathered[index] = piece
            self._submit(piece.nbytes, self._digest, path, index, piece)
            whole = [one for one in gathered if one is not None]
            if len(whole) == len(gathered):
                self._submit(outline.nbytes, self._write, path, (), np.stack(whole))
                del self._gathered[path]
            return
        self._submit(piece.nbytes, self._digest_and_write, path, index, piece)

    def digest(self, path: str) -> str:
        """Returns the digest of an array that is written: `digest_of` its pieces."""
        return digest_of(self._digests[path])

    def _submit(self, size: int, call: Callable[..., None], *arguments: object) -> None:
        self._waiting.append((size, self._pool.submit(call, *arguments)))

    def _wait_for(self, room: int) -> None:
        """Waits until no more than `room` bytes wait; what failed is raised."""
        while self._waiting and (sum(size for size, _ in self._waiting) > room or self._waiting[0][1].done()):
            self._waiting.popleft()[1].result()

    def _digest_and_write(self, path: str, index: int, piece: np.ndarray) -> None:
        self._digest(path, index, piece)
        self._write(path, (index,) if self._arrays[path].stacked else (), piece)

    def _digest(self, path: str, index: int, piece: np.ndarray) -> None:
        self._digests[path][index] = digest_of_piece(piece)

    def _write(self, path: str, place: tuple[int, ...], piece: np.ndarray) -> None:
        outline = self._arrays[path]
        chunks = outline.chunks()
        size = int(np.prod(chunks)) * outline.dtype.itemsize
        rows = chunks[len(place)] if piece.ndim else 1
        flat = as_bytes(piece)
        for number in range(-(-len(piece) // rows) if piece.ndim else 1):
            index = (*place, number) if piece.ndim else place
            name = ".".join(map(str, (*index, *[0] * (len(outline.shape) - len(index))))) or "0"
            _write_file(self._folder / path / name, flat[number * size : (number + 1) * size], size)

    def _settle(self) -> None:
        """Has the disk keep every file: all at once, for what was written past the cache waits for its name only."""
        for path in self._arrays:
            for file in (self._folder / path).iterdir():
                handle = os.open(file, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)


def digest_of_piece(piece: np.ndarray) -> bytes:
    """Returns the 128 bits of XXH3 of a piece's bytes: against damage and mistakes, not against malice."""
    return xxhash.xxh3_128_digest(as_bytes(np.ascontiguousarray(piece)))


def digest_of(pieces: list[bytes]) -> str:
    """Returns the digest of an array from those of its pieces, in order."""
    return xxhash.xxh3_128_hexdigest(b"".join(pieces))


def _write_file(path: Path, content: np.ndarray, size: int) -> None:
    """Writes bytes to a new file of `size` bytes, zeros behind them."""
    if _DIRECT and content.nbytes == size and size and not size % PAGE and not content.ctypes.data % PAGE:
        try:
            _write_past_cache(path, content)
        except OSError as error:
            # EINVAL is how a file system says that it has no such way.
            if error.errno != errno.EINVAL:
                raise
        else:
            return
    with path.open("wb") as file:
        file.write(content)
        if content.nbytes < size:
            file.write(bytes(size - content.nbytes))


def _write_past_cache(path: Path, content: np.ndarray) -> None:
    handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | _DIRECT, 0o666)
    try:
        written = 0
        while written < content.nbytes:
            written += os.write(handle, content[written:])
    finally:
        os.close(handle)
