"""The tensors of a file that `torch.save` wrote, without torch: the zip of today, and the run of pickles of before 1.6."""

import io
import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from jaxembed.convert.formats import pickles
from jaxembed.convert.formats.pickles import MalformedPickleError, Storage, Tensor
from jaxembed.convert.formats.tensors import DTYPES, StoredTensor, contiguous
from jaxembed.errors import CheckpointError, UnsupportedModelError, shown

_MAGIC = 0x1950A86A20F9469CFC6C
# Fixed part of the header before each entry of a zip, and where in it the lengths of name and extra field stand.
_LOCAL_HEADER, _NAME_LENGTH = 30, 26
# How much of a file's end may hold the records that end a zip; what stands in their 32 bits where 64 are needed.
_END_BYTES, _WIDE = 1 << 17, (1 << 32) - 1
# Bytes of the list of entries and of data.pkl: some hundred for each of ten thousand tensors, and much more.
_MOST_LISTED, _MOST_PICKLED = 8 << 20, 16 << 20
_LIES = (ValueError, NotImplementedError, RuntimeError, OverflowError, MemoryError, IndexError, EOFError, struct.error)


def torch_tensors(path: Path) -> dict[str, StoredTensor]:
    """Returns the tensors of a file, by name; only their descriptions are read.

    Raises `CheckpointError` for a file that is damaged, `UnsupportedModelError` for one that holds anything but a dict of
    tensors.
    """
    try:
        with path.open("rb") as file:
            zipped = zipfile.is_zipfile(file)
            file.seek(0)
            found = _from_zip(path, file) if zipped else _from_pickles(path, file)
            size = file.seek(0, io.SEEK_END)
    except CheckpointError:
        raise
    # What a zip says of itself reaches Python's zipfile unchecked, and shows as one of these.
    except (MalformedPickleError, zipfile.BadZipFile, *_LIES) as error:
        raise _damaged(path, str(error) or type(error).__name__) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    if not isinstance(found, dict):
        raise UnsupportedModelError(f"{path} holds a {type(found).__name__}, and a dict of tensors is expected.")
    others = [
        shown(str(name), 60) for name, value in found.items() if not isinstance(value, Tensor) or not isinstance(name, str)
    ]
    if others:
        raise UnsupportedModelError(f"{path} holds more than a dict of tensors: {', '.join(one[1:-1] for one in others[:5])}.")
    return {name: _placed(path, name, tensor, size) for name, tensor in found.items()}


def _from_zip(path: Path, file: IO[bytes]) -> Any:
    size = _check_directory(path, file)
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
    pickled = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickled) != 1:
        raise UnsupportedModelError(f"{path} is a zip, but not one that torch.save wrote: it has {len(pickled)} data.pkl.")
    folder = pickled[0].removesuffix("data.pkl")
    places = {name: _place(path, file, info, size) for name, info in entries.items()}

    def read(name: str) -> bytes:
        offset, size = places[name]
        file.seek(offset)
        return file.read(size)

    if places[pickled[0]][1] > _MOST_PICKLED:
        raise _damaged(path, f"its data.pkl of {places[pickled[0]][1]:,} bytes is larger than any model's")
    machine = pickles.load(io.BytesIO(read(pickled[0])), str(path))
    order = folder + "byteorder"
    swapped = order in places and places[order][1] < _LOCAL_HEADER and read(order).strip() == b"big"
    for storage in _storages(machine):
        name = f"{folder}data/{storage.key}"
        if name not in places:
            raise _damaged(path, f"it lacks {shown(name)[1:-1]}")
        (storage.offset, storage.size), storage.swapped = places[name], swapped
    return machine


def _check_directory(path: Path, file: IO[bytes]) -> int:
    """Returns the size of a zip. Raises `CheckpointError` for a list of entries too long to be a model's.

    How long the list is stands at the end of the file, and where 32 bits are too few, in the record that zip64 has before it.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    listed = int.from_bytes(tail[end + 12 : end + 16], "little")
    wide = tail.rfind(b"PK\x06\x06", 0, end)
    if wide >= 0:
        listed = max(listed if listed < _WIDE else 0, int.from_bytes(tail[wide + 40 : wide + 48], "little"))
    if min(listed, size) > _MOST_LISTED:
        raise _damaged(path, f"its list of entries takes {listed:,} bytes, more than any model's")
    file.seek(0)
    return size


def _place(path: Path, file: IO[bytes], info: zipfile.ZipInfo, file_size: int) -> tuple[int, int]:
    """Returns where the bytes of an entry begin and how many they are, which are no more than there can be."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise UnsupportedModelError(f"{path} is a compressed or encrypted zip, which torch.save never writes; unpack it.")
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) != _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise _damaged(path, f"the entry {shown(info.filename)[1:-1]} is not where it should be")
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (_NAME_LENGTH, _NAME_LENGTH + 2))
    begin = info.header_offset + _LOCAL_HEADER + name + extra
    own = file.read(name)
    if info.orig_filename not in (own.decode("cp437"), own.decode("utf-8", "replace")):
        raise _damaged(path, f"the entry {shown(info.filename)[1:-1]} is not where it should be")
    if begin + info.file_size > file_size:
        raise _damaged(path, f"it ends before its entry {shown(info.filename)[1:-1]}")
    return begin, info.file_size


def _from_pickles(path: Path, file: IO[bytes]) -> Any:
    """The old layout: a magic number, a version, facts of the machine, the object, the storages' keys, then their bytes."""
    start = file.read(2)
    if start[:1] != b"\x80":
        raise _damaged(path, "the end of its zip is missing" if start == b"PK" else "it is neither a zip nor a pickle")
    file.seek(0)
    if pickles.load(file, str(path)) != _MAGIC:
        raise UnsupportedModelError(f"{path} is a pickle that torch.save did not write.")
    version, machine = pickles.load(file, str(path)), pickles.load(file, str(path))
    if version != 1001 or not isinstance(machine, Mapping):
        raise UnsupportedModelError(f"{path} has version {shown(version, 40)} of torch's old layout; only 1001 is known.")
    found, keys = pickles.load(file, str(path)), pickles.load(file, str(path))
    storages = {storage.key: storage for storage in _storages(found)}
    swapped = machine.get("little_endian") is False
    for key in keys if isinstance(keys, list) else []:
        count = int.from_bytes(file.read(8), "big" if swapped else "little")
        storage = storages.get(str(key))
        if storage is None or count != storage.count:
            raise _damaged(path, f"the storage {shown(key, 60)} is not the one that its tensors ask for")
        width = 1 if storage.dtype is None else DTYPES[storage.dtype].itemsize
        storage.offset, storage.size, storage.swapped = file.tell(), count * width, swapped
        file.seek(storage.size, io.SEEK_CUR)
    return found


def _storages(found: Any) -> list[Storage]:
    values = found.values() if isinstance(found, dict) else []
    return list({value.storage.key: value.storage for value in values if isinstance(value, Tensor)}.values())


def _placed(path: Path, name: str, tensor: Tensor, file_size: int) -> StoredTensor:
    """Returns where a tensor lies, after looking whether it lies within its storage and that within the file."""
    dtype, storage = DTYPES[tensor.dtype], tensor.storage
    strides = None if tensor.strides == contiguous(tensor.shape) else tensor.strides
    offset = storage.offset + tensor.start * dtype.itemsize
    stored = StoredTensor(path, offset, dtype, tensor.shape, strides, storage.swapped)
    if offset + stored.span() * dtype.itemsize > storage.offset + storage.size:
        raise _damaged(path, f"the tensor {shown(name)[1:-1]} reaches beyond its storage")
    if storage.offset + storage.size > file_size:
        raise _damaged(path, f"it ends before the tensor {shown(name)[1:-1]}")
    # A stride of 0 makes any number of elements out of one.
    if math.prod(tensor.shape) * dtype.itemsize > storage.size:
        raise _damaged(path, f"the tensor {shown(name)[1:-1]} has more elements than its storage")
    return stored


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is not a whole file of torch.save ({why}); get it again.")
