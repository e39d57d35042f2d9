"""Writes what `torch.save` writes, without torch, opcode by opcode: the same layout, and whatever else a test wants in it."""

import pickle
import zipfile
from pathlib import Path

import numpy as np

STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage", "int64": "LongStorage"}


def plain(value: object) -> bytes:
    """The opcodes that push a plain value."""
    return pickle.dumps(value, 2)[2:-1]


def name(module: str, attribute: str) -> bytes:
    """The opcodes that push a global."""
    return f"c{module}\n{attribute}\n".encode()


def tensor(key: str, count: int, shape: tuple, strides: tuple, *, start: int = 0, kind: str = "FloatStorage") -> bytes:
    """The opcodes that push a tensor on the storage `key` of `count` elements."""
    storage = b"(" + plain("storage") + name("torch", kind) + plain(key) + plain("cpu") + plain(count) + b"tQ"
    hooks = name("collections", "OrderedDict") + b")R"
    view = storage + plain(start) + plain(shape) + plain(strides) + b"\x89" + hooks
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + view + b"tR"


def state_dict(entries: dict[str, bytes]) -> bytes:
    """A whole pickle: an ordered dict of what the opcodes of `entries` push."""
    items = b"".join(plain(key) + value for key, value in entries.items())
    return b"\x80\x02" + name("collections", "OrderedDict") + b")R(" + items + b"u."


def write_zip(path: Path, pickled: bytes, storages: dict[str, bytes], **options) -> None:
    """The zip around a pickle."""
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", b"little")
        for key, content in storages.items():
            archive.writestr(f"archive/data/{key}", content)
        archive.writestr("archive/version", b"3\n")


def save(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Writes tensors as `torch.save` writes a state dict."""
    entries, storages = {}, {}
    for number, (key, value) in enumerate(tensors.items()):
        strides = tuple(step // value.itemsize for step in np.array(value, order="C").strides)
        kind = STORAGES[value.dtype.name]
        entries[key] = tensor(str(number), value.size, value.shape, strides, kind=kind)
        storages[str(number)] = value.tobytes()
    write_zip(path, state_dict(entries), storages)
