"""Where the parameters of a model lie on several devices: one table from the letters of their axes to the axes of a mesh.

The letters are those of the weight rules (`v d`, `d n h`, ...), so a model is annotated by the table that loads it and by
nothing else. Knows nothing about files or models.
"""

from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxembed.errors import InputError

# Heads and the inner width of an MLP are cut, so that a layer needs two sums over the devices (Megatron-LM, arXiv 1909.08053,
# section 3), and so is the vocabulary, the largest table of a small model. Everything else is on every device.
TABLE = {"n": "model", "k": "model", "f": "model", "v": "model"}


def mesh(*, data: int, model: int) -> Mesh:
    """Returns a mesh of data · model devices whose axes the compiler partitions by itself.

    Raises `InputError` if there are not so many devices.
    """
    if data * model > jax.device_count():
        raise InputError(f"a mesh of {data} x {model} needs {data * model} devices, and there are {jax.device_count()}.")
    return jax.make_mesh((data, model), ("data", "model"), axis_types=(AxisType.Auto, AxisType.Auto))


def sharding(axes: Sequence[str], shape: Sequence[int], over: Mesh) -> NamedSharding:
    """Returns how an array whose axes have these letters lies on the mesh.

    An axis that the devices do not divide stays whole (one key head on two devices), and a mesh axis is used once.
    """
    placed: list[str | None] = []
    for letter, size in zip(axes, shape, strict=True):
        axis = TABLE.get(letter)
        fits = axis is not None and axis not in placed and size % over.shape[axis] == 0
        placed.append(axis if fits else None)
    return NamedSharding(over, PartitionSpec(*placed))
