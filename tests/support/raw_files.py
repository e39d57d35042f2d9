"""Files written by hand, where a library would not write them."""

import json

import numpy as np


def write_raw(folder, tensors: dict[str, np.ndarray]) -> None:
    """A safetensors file, written by hand: the library's numpy side knows no fp8."""
    kinds = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "int8": "I8", "float32": "F32"}
    kinds |= {"float16": "F16", "bfloat16": "BF16"}
    header, place = {}, 0
    for key, value in tensors.items():
        header[key] = {
            "dtype": kinds[value.dtype.name],
            "shape": list(value.shape),
            "data_offsets": [place, place + value.nbytes],
        }
        place += value.nbytes
    text = json.dumps(header).encode()
    content = b"".join(value.tobytes() for value in tensors.values())
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + content)
