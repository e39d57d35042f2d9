"""Fills a declared model from a converted checkpoint, each shard straight onto its device."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, Sharding, SingleDeviceSharding

from jaxembed.convert.orbax import store
from jaxembed.convert.orbax.manifest import ARRAYS, Manifest, StoredArray, digest_of_rules
from jaxembed.convert.orbax.writing import digest_of, digest_of_piece
from jaxembed.convert.weights.filling import Memory, read_leaves
from jaxembed.convert.weights.parameters import Declared, Parameter, fill, layouts
from jaxembed.errors import CheckpointError, InputError, shown
from jaxembed.layers import sharding
from jaxembed.layers.int8 import Quantized
from jaxembed.models.backbone import BackboneConfig


def restore_weights(model: Declared, folder: Path, manifest: Manifest, memory: Memory) -> Any:
    """Returns what `load_weights` returns, from the arrays of a converted folder.

    Orbax reads onto each device what it holds and nothing else. Where each layer is an array of its own (`per_layer`, a CPU),
    and where stored matrices are yet to be quantized, each is read by itself instead. Raises `CheckpointError` if the folder
    is damaged or does not hold this model.
    """
    found = stored_parameters(model, folder, manifest)
    if memory.per_layer or memory.int8:
        return fill(model.state, read_leaves(found, memory))
    wanted: dict[str, tuple[int, Any, Sharding]] = {}
    for path, array in manifest.arrays.items():
        stored = array.dtype if array.dtype == "int8" else memory.dtype if _rounded(path) else np.float32
        size = int(np.prod(array.shape)) * np.dtype(stored).itemsize
        wanted[path] = (size, np.dtype(stored), _place(array, memory.mesh))
    return fill(model.state, _joined(dict(store.restore(folder / ARRAYS, wanted))))


def stored_parameters(model: Declared, folder: Path, manifest: Manifest) -> list[Parameter]:
    """Returns every parameter of a converted folder.

    Raises `CheckpointError` if it was converted by other rules, or its arrays are not those of the model; `InputError` if
    another adapter is asked for than was merged.
    """
    family = model.family
    if manifest.rules != digest_of_rules(layouts(family)):
        raise CheckpointError(f"{folder} was converted by other weight rules for {family.name}; convert the checkpoint again.")
    _check_adapter(model.config, folder, manifest)
    found = []
    for path, shape in model.shapes().items():
        quantized = f"{path}.q" in manifest.arrays
        array = manifest.arrays.get(f"{path}.q" if quantized else path)
        if array is None or array.shape != shape:
            held = f"it is {list(array.shape)}" if array else "it is not there"
            raise CheckpointError(
                f"{folder} should hold the array {path} {list(shape)}, and {held}: what its arrays are cannot be changed by "
                "overrides; convert the checkpoint again, with them if need be."
            )
        read = partial(_read, folder / ARRAYS, path, quantized)
        reads = tuple(partial(read, layer) for layer in array.layers)
        dtype = np.dtype(np.float32 if quantized else array.dtype)
        found.append(
            Parameter(path, shape, array.axes, dtype, reads, array.stacked, model.summed.get(path) if array.stacked else None)
        )
    _check_files(folder, manifest)
    return found


def _check_files(folder: Path, manifest: Manifest) -> None:
    store.check(folder / ARRAYS, {path: (array.shape, array.dtype) for path, array in manifest.arrays.items()})


def check_arrays(folder: Path, manifest: Manifest) -> None:
    """Raises `CheckpointError` for the first array whose bytes are not those that were written."""
    _check_files(folder, manifest)
    for path, array in manifest.arrays.items():
        digests = [digest_of_piece(store.read(folder / ARRAYS, path, layer)) for layer in array.layers]
        if digest_of(digests) != array.xxh3:
            raise CheckpointError(f"{folder} is damaged: the array {path} has changed; convert the checkpoint again.")


def _check_adapter(config: BackboneConfig, folder: Path, manifest: Manifest) -> None:
    asked, merged = (Path(adapter).name for adapter in (config.adapter, manifest.adapter))
    if asked != merged:
        has = f"has the task {shown(merged)} merged into its weights for good" if merged else "was converted without a task"
        what = f"for {shown(asked)}" if asked else "for none"
        raise InputError(f"{folder} {has}; {what}, convert the checkpoint again with those overrides.", field="hf_overrides")


def _read(arrays: Path, path: str, quantized: bool, layer: int | None) -> np.ndarray | Quantized:
    if not quantized:
        return store.read(arrays, path, layer)
    return Quantized(store.read(arrays, f"{path}.q", layer), store.read(arrays, f"{path}.scale", layer))


def _rounded(path: str) -> bool:
    """Whether an array takes the type that was asked for: the backbone's, but for scales."""
    return path.startswith("backbone.") and not path.endswith(".w.scale")


def _place(array: StoredArray, mesh: Mesh | None) -> Sharding:
    if mesh is None:
        return SingleDeviceSharding(jax.devices()[0])
    return sharding.sharding(array.axes, array.shape, mesh)


def _joined(arrays: dict[str, jax.Array]) -> dict[str, Any]:
    """Joins `path.q` and `path.scale` into one leaf."""
    matrices = [
        path.removesuffix(".q") for path in arrays if f"{path.removesuffix('.q')}.scale" in arrays and path.endswith(".q")
    ]
    joined: dict[str, Any] = dict(arrays)
    for path in matrices:
        joined[path] = Quantized(joined.pop(f"{path}.q"), joined.pop(f"{path}.scale"))
    return joined
