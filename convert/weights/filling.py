"""Fills a declared model from a checkpoint, tensor by tensor, straight into arrays on the device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxembed.convert.weights.parameters import Declared, Parameter, fill, open_parameters
from jaxembed.layers import sharding
from jaxembed.layers.int8 import Quantized


@dataclass(frozen=True)
class Memory:
    """How parameters lie in memory.

    Attributes:
        dtype: of the backbone's arrays; the heads' stay float32, as the reference keeps them.
        per_layer: whether each stacked leaf becomes a tuple with one array for each layer, what a CPU wants.
        int8: whether the matrices of the layers become `Quantized`.
        mesh: the devices to put them on, None for the default device.
    """

    dtype: Any
    per_layer: bool
    int8: bool = False
    mesh: Mesh | None = None


def load_weights(model: Declared, folder: Path, memory: Memory) -> Any:
    """Returns the state of a declared model with arrays for leaves, read from a checkpoint tensor by tensor.

    The host never holds more than one parameter's worth of tensors beside the device's copy. Raises `CheckpointError` for
    anything that does not fit.
    """
    return fill(model.state, read_leaves(open_parameters(model, folder).parameters, memory))


def read_leaves(parameters: Sequence[Parameter], memory: Memory) -> dict[str, Any]:
    """Reads every parameter in turn and returns them by path."""
    return {one.path: leaf(one, memory) for one in parameters}


def leaf(parameter: Parameter, memory: Memory) -> Any:
    """Reads a parameter onto its devices: one array, or a tuple with one for each layer."""
    pieces = parameter.pieces(memory.dtype if parameter.in_backbone else np.float32, int8=memory.int8)
    if not parameter.stacked:
        return _placed(next(pieces), parameter.axes, memory.mesh)
    if memory.per_layer:
        return tuple(_placed(piece, parameter.axes[1:], memory.mesh) for piece in pieces)
    return _placed(_stack(pieces, parameter.shape[0]), parameter.axes, memory.mesh)


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
