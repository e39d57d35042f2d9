"""The tensors of a safetensors file: the library looks whether the file is whole, reading is `StoredTensor`'s, without a map.

A mapped file stays in memory as far as it was read, and converting shall need a few tensors' worth, not the file's.
"""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from jaxembed.convert.formats.tensors import DTYPES, MOST_AXES, StoredTensor
from jaxembed.errors import CheckpointError, UnsupportedModelError, shown

# The format's names (huggingface/safetensors, README) for the types that are read.
NAMES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "U16": "uint16",
    "U32": "uint32",
    "U64": "uint64",
    "BOOL": "bool",
}


# The description of a thousand layers takes a few MiB; what is read here becomes some ten times as much in memory.
_MOST_HEADER_BYTES = 16 << 20


def safetensors_tensors(path: Path) -> dict[str, StoredTensor]:
    """Returns the tensors of a file, by name. Raises `CheckpointError` for a file that is not whole."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if _MOST_HEADER_BYTES < length < path.stat().st_size:
                raise CheckpointError(
                    f"{path} has a header of {length:,} bytes, and {_MOST_HEADER_BYTES:,} are read; no model needs more."
                )
            with safe_open(path, framework="np"):
                header = json.loads(file.read(length))
    except PermissionError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}.") from None
    except (SafetensorError, OSError) as error:
        size = path.stat().st_size
        raise CheckpointError(f"{path} is not a whole safetensors file ({size:,} bytes: {error}); download it again.") from None
    header.pop("__metadata__", None)
    deep = [name for name, entry in header.items() if len(entry["shape"]) > MOST_AXES]
    if deep:
        raise CheckpointError(f"{path} holds {shown(deep[0])}, a tensor of {len(header[deep[0]]['shape'])} axes; 64 are read.")
    unknown = sorted({entry["dtype"] for entry in header.values()} - set(NAMES))
    if unknown:
        raise UnsupportedModelError(f"{path} holds tensors of type {', '.join(unknown)}; read are {', '.join(NAMES)}.")
    return {
        name: StoredTensor(path, 8 + length + entry["data_offsets"][0], DTYPES[NAMES[entry["dtype"]]], tuple(entry["shape"]))
        for name, entry in header.items()
    }
