"""A checkpoint's tensors, by name, read one at a time: safetensors in one file or in shards. Executes nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from jaxembed.errors import CheckpointError, UnsupportedModelError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"


class Checkpoint:
    """The tensors of a folder. Opening it reads headers only; `read` reads one tensor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}
        self._home: dict[str, str] = {}
        for name, expected in _files(folder).items():
            file = _open(folder / name)
            self._files[name] = file
            present = set(file.keys())
            for tensor in expected if expected is not None else present:
                if tensor not in present:
                    raise CheckpointError(f"{folder / INDEX} says that {name} holds the tensor {tensor!r}, and it does not.")
                self._home[tensor] = name

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._home))

    def __contains__(self, name: str) -> bool:
        return name in self._home

    def shape(self, name: str) -> tuple[int, ...]:
        """Returns a tensor's shape without reading it."""
        return tuple(self._files[self._home[name]].get_slice(name).get_shape())

    def read(self, name: str) -> np.ndarray:
        """Returns one tensor as it is stored; bfloat16 as `ml_dtypes.bfloat16`."""
        try:
            tensor: np.ndarray = self._files[self._home[name]].get_tensor(name)
        except (SafetensorError, TypeError, AttributeError) as error:
            raise UnsupportedModelError(
                f"the tensor {name!r} of {self.folder} has a type that cannot be read: {error}"
            ) from None
        return tensor


def _files(folder: Path) -> dict[str, list[str] | None]:
    """Returns the weight files of a folder with the tensors each shall hold, None where the file alone says so."""
    if (folder / SINGLE).is_file():
        return {SINGLE: None}
    if (folder / INDEX).is_file():
        try:
            places = json.loads((folder / INDEX).read_text())["weight_map"]
        except (ValueError, KeyError, TypeError):
            raise CheckpointError(f"{folder / INDEX} is not a weight index: it should be JSON with a 'weight_map'.") from None
        shards: dict[str, list[str] | None] = {}
        for tensor, name in sorted(places.items()):
            held = shards.setdefault(name, [])
            assert held is not None
            held.append(tensor)
        missing = sorted(name for name in shards if not (folder / name).is_file())
        if missing:
            raise CheckpointError(f"{folder} lacks {', '.join(missing)}, named in {INDEX}; download the whole checkpoint.")
        return shards
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    if pickled:
        raise UnsupportedModelError(
            f"{folder} has its weights in {pickled[0]}, a pickle, and only safetensors are read; "
            "save the checkpoint again with safe_serialization=True."
        )
    raise CheckpointError(f"{folder} has no weights: neither {SINGLE} nor {INDEX} is there.")


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="np")
    except (SafetensorError, OSError) as error:
        size = path.stat().st_size
        raise CheckpointError(f"{path} is not a whole safetensors file ({size:,} bytes: {error}); download it again.") from None
