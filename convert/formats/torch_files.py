"""The tensors of a file that `torch.save` wrote, without torch: the zip of today, and the run of pickles of before 1.6."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from jaxembed.convert.formats import pickles
from jaxembed.convert.formats.pickles import MalformedPickleError, Storage, Tensor
from jaxembed.convert.formats.tensors import DTYPES, StoredTensor, contiguous
from jaxembed.errors import CheckpointError, UnsupportedModelError

_MAGIC = 0x1950A86A20F9469CFC6C
# Fixed part of the header before each entry of a zip, and where in it the lengths of name and extra field stand.
_LOCAL_HEADER, _NAME_LENGTH = 30, 26


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
    except (MalformedPickleError, zipfile.BadZipFile) as error:
        raise _damaged(path, str(error)) from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    if not isinstance(found, dict):
        raise UnsupportedModelError(f"{path} holds a {type(found).__name__}, and a dict of tensors is expected.")
    others = [str(name) for name, value in found.items() if not isinstance(value, Tensor) or not isinstance(name, str)]
    if others:
        raise UnsupportedModelError(f"{path} holds more than a dict of tensors: {', '.join(others[:5])}.")
    return {name: _placed(path, name, tensor, size) for name, tensor in found.items()}


def _from_zip(path: Path, file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
    pickled = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickled) != 1:
        raise UnsupportedModelError(f"{path} is a zip, but not one that torch.save wrote: it has {len(pickled)} data.pkl.")
    folder = pickled[0].removesuffix("data.pkl")
    places = {name: _place(path, file, info) for name, info in entries.items()}

    def read(name: str) -> bytes:
        offset, size = places[name]
        file.seek(offset)
        return file.read(size)

    machine = pickles.load(io.BytesIO(read(pickled[0])), str(path))
    swapped = read(folder + "byteorder").strip() == b"big" if folder + "byteorder" in places else False
    for storage in _storages(machine):
        name = f"{folder}data/{storage.key}"
        if name not in places:
            raise _damaged(path, f"it lacks {name}")
        (storage.offset, storage.size), storage.swapped = places[name], swapped
    return machine


def _place(path: Path, file: IO[bytes], info: zipfile.ZipInfo) -> tuple[int, int]:
    """Returns where the bytes of an entry begin and how many they are."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise UnsupportedModelError(f"{path} is a compressed or encrypted zip, which torch.save never writes; unpack it.")
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) != _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise _damaged(path, f"the entry {info.filename} is not where it should be")
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (_NAME_LENGTH, _NAME_LENGTH + 2))
    return info.header_offset + _LOCAL_HEADER + name + extra, info.file_size


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
        raise UnsupportedModelError(f"{path} has version {version} of torch's old layout; only 1001 is known.")
    found, keys = pickles.load(file, str(path)), pickles.load(file, str(path))
    storages = {storage.key: storage for storage in _storages(found)}
    swapped = machine.get("little_endian") is False
    for key in keys if isinstance(keys, list) else []:
        count = int.from_bytes(file.read(8), "big" if swapped else "little")
        storage = storages.get(str(key))
        if storage is None or count != storage.count:
            raise _damaged(path, f"the storage {key} is not the one that its tensors ask for")
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
        raise _damaged(path, f"the tensor {name} reaches beyond its storage")
    if storage.offset + storage.size > file_size:
        raise _damaged(path, f"it ends before the tensor {name}")
    return stored


def _damaged(path: Path, why: str) -> CheckpointError:
    return CheckpointError(f"{path} is not a whole file of torch.save ({why}); get it again.")
