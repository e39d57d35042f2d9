"""Fills a declared model from a checkpoint, tensor by tensor, straight into arrays on the device."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from jaxembed.convert.mapping.registry import Family
from jaxembed.convert.weights.parameters import Parameter, declare, fill, open_parameters
from jaxembed.heads.recipe import Head
from jaxembed.layers import sharding
from jaxembed.layers.int8 import Quantized
from jaxembed.models.backbone import BackboneConfig


def load_weights(
    family: Family,
    config: BackboneConfig,
    heads: Sequence[Head],
    modes: Sequence[str],
    folder: Path,
    *,
    include_prompt: bool,
    dtype: Any,
    per_layer: bool,
    int8: bool = False,
    mesh: Mesh | None = None,
) -> tuple[nnx.GraphDef, Any]:
    """Returns the graph of an `Embedder` and its state, every leaf an array of `dtype` on the default device or the mesh.

    The heads stay float32, as the reference keeps them. per_layer: each stacked leaf becomes a tuple with one array for each
    layer, what a CPU wants. int8: the matrices of the layers become `Quantized`. The host never holds more than one
    parameter's worth of tensors beside the device's copy. Raises `CheckpointError` for anything that does not fit.
    """
    graph, state, summed = declare(family, config, heads, modes, include_prompt=include_prompt)
    found = open_parameters(family, config, heads, folder, state, summed).parameters
    return graph, fill(state, read_leaves(found, dtype, per_layer=per_layer, int8=int8, mesh=mesh))


def read_leaves(
    parameters: Sequence[Parameter], dtype: Any, *, per_layer: bool, int8: bool, mesh: Mesh | None
) -> dict[str, Any]:
    """Reads every parameter in turn, the backbone's in `dtype`, the heads' in float32, and returns them by path."""
    return {
        one.path: leaf(one, dtype if one.in_backbone else np.float32, per_layer=per_layer, int8=int8, mesh=mesh)
        for one in parameters
    }


def leaf(parameter: Parameter, dtype: Any, *, per_layer: bool, int8: bool, mesh: Mesh | None) -> Any:
    """Reads a parameter onto the default device or the mesh: one array, or a tuple with one for each layer."""
    pieces = parameter.pieces(dtype, int8=int8)
    if not parameter.stacked:
        return _placed(next(pieces), parameter.axes, mesh)
    if per_layer:
        return tuple(_placed(piece, parameter.axes[1:], mesh) for piece in pieces)
    return _placed(_stack(pieces, parameter.shape[0]), parameter.axes, mesh)


def _stack(pieces: Any, layers: int) -> Any:
    """The pieces in one array, or one `Quantized`, with a leading axis; filled in turn, so that none is held twice."""
    whole: Any = None
    for index, piece in enumerate(pieces):
        if whole is None:
            whole = jax.tree.map(lambda part: np.empty((layers, *part.shape), part.dtype), piece)
        for target, part in zip(jax.tree.leaves(whole), jax.tree.leaves(piece), strict=True):
            target[index] = part
    return whole


def _placed(value: Any, axes: tuple[str, ...], mesh: Mesh | None) -> Any:
    return each_part(value, axes, lambda part, letters: _on_device(part, letters, mesh))


def each_part(value: Any, axes: tuple[str, ...], make: Callable[[Any, tuple[str, ...]], Any]) -> Any:
    """Returns `make(array, its axes)`, or a `Quantized` of what it makes of q and scale."""
    if not isinstance(value, Quantized):
        return make(value, axes)
    return Quantized(make(value.q, axes), make(value.scale, scale_axes(axes, value.q.ndim - value.scale.ndim)))


def scale_axes(axes: tuple[str, ...], summed: int) -> tuple[str, ...]:
    """Returns the axes of a scale from those of its matrix, of which a product sums over `summed`."""
    stack = axes[:1] if axes[0] == "l" else ()
    return (*stack, *axes[len(stack) + summed :])


def _on_device(part: np.ndarray, axes: tuple[str, ...], mesh: Mesh | None) -> jax.Array:
    return jax.device_put(part, None if mesh is None else sharding.sharding(axes, part.shape, mesh))
