"""A checkpoint's tensors, by name, read one at a time: safetensors or torch's files, whole or in shards. Executes nothing."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxembed.convert.formats import scales
from jaxembed.convert.formats.json_files import is_there, read_json
from jaxembed.convert.formats.packed_weights import Stored, unpacked
from jaxembed.convert.formats.safetensors_files import safetensors_tensors
from jaxembed.convert.formats.tensors import DTYPES, StoredTensor
from jaxembed.convert.formats.torch_files import torch_tensors
from jaxembed.errors import CheckpointError

SINGLE = "model.safetensors"
PICKLED = "pytorch_model.bin"
_INDEX = ".index.json"
# What other software makes of a checkpoint.
_OTHER_FORMS = (
    "*.onnx",
    "*/*.onnx",
    "*/openvino_model*.xml",
    "*.xml",
    "*.gguf",
    "*.h5",
    "*.msgpack",
    "*.tflite",
    "*.ckpt",
    "*.pth",
)


class Checkpoint:
    """The tensors of a folder. Opening it reads headers only; `read` reads one tensor.

    files: where they are. Quantized weights come back multiplied out, and the names of their scales are not listed. Raises
    `CheckpointError` for files that are missing or damaged, `UnsupportedModelError` for what is not read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = read_json(folder / "config.json") or {}
        scales.check_method(config)
        stored: dict[str, Stored] = {}
        index, shards = _shards(folder)
        self.files = tuple(folder / name for name in shards)
        for name, expected in shards.items():
            present = open_tensors(folder / name)
            for tensor in present if expected is None else expected:
                if tensor not in present:
                    raise CheckpointError(f"{folder / index} says that {name} holds the tensor {tensor!r}, and it does not.")
                stored[tensor] = present[tensor]
        found = unpacked(scales.quantization(config), stored)
        self._scales, hidden = scales.scales_of(found)
        self._block = scales.block_size(config)
        self._found = found
        self._listed = set(found) - hidden

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._listed))

    def __contains__(self, name: str) -> bool:
        return name in self._listed

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns a tensor's shape without reading it."""
        return self._found[name].shape

    def dtype(self, name: str) -> np.dtype:
        """Returns the type that `read` gives a tensor, without reading it."""
        return DTYPES["float32"] if name in self._scales else self._found[name].dtype

    def read(self, name: str) -> np.ndarray:
        """Returns one tensor as it is stored, in numpy's or ml_dtypes' type; float32 where it had a scale."""
        tensor = self._found[name].read()
        if name not in self._scales:
            return tensor
        return scales.dequantized(name, tensor, self._found[self._scales[name]].read(), self._block)


def open_tensors(path: Path) -> dict[str, StoredTensor]:
    """Returns the tensors of one file by name: safetensors by its ending, else what `torch.save` writes."""
    return safetensors_tensors(path) if path.suffix == ".safetensors" else torch_tensors(path)


def _shards(folder: Path) -> tuple[str, dict[str, list[str] | None]]:
    """Returns the index, and the weight files with the tensors each shall hold, None where the file alone says so."""
    for single in (SINGLE, PICKLED):
        if is_there(folder / single):
            return "", {single: None}
        index = single + _INDEX
        if is_there(folder / index):
            return index, _indexed(folder, index)
    raise CheckpointError(
        f"{folder} has no weights: neither {SINGLE} nor {PICKLED} is there, whole or in shards{_instead(folder)}."
    )


def _instead(folder: Path) -> str:
    """Returns what an error says of weights in forms that are not read."""
    found = sorted(str(path.relative_to(folder)) for pattern in _OTHER_FORMS for path in folder.glob(pattern))
    if not found:
        return ""
    return f"; {found[0]} is, which is not read: use the checkpoint that it was made from"


def _indexed(folder: Path, index: str) -> dict[str, list[str] | None]:
    places = (read_json(folder / index) or {}).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError(f"{folder / index} is not a weight index: it should be JSON with a 'weight_map'.")
    if not places:
        raise CheckpointError(f"{folder / index} is empty: its 'weight_map' names no tensor; download it again.")
    shards: dict[str, list[str] | None] = {}
    for tensor, name in sorted(places.items()):
        held = shards.setdefault(name, [])
        assert held is not None
        held.append(tensor)
    # A name with a path in it could lead out of the folder.
    missing = sorted(name for name in shards if Path(name).name != name or not is_there(folder / name))
    if missing:
        raise CheckpointError(f"{folder} lacks {', '.join(missing)}, named in {index}; download the whole checkpoint.")
    return shards
