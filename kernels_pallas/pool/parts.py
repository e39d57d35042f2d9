"""What every back end of `pool` shares: the dense head, and how a vector is finished."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxembed.kernels_pallas.backend import Tiles, misses
from jaxembed.kernels_pallas.shapes import PoolShape

ACTIVATIONS = {"linear": lambda x: x, "tanh": jnp.tanh}


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Dense:
    """A dense head: activation(x · w + b), computed in float32; activation (static): linear or tanh."""

    w: Float[Array, "d e"]
    b: Float[Array, " e"] | None
    activation: str = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "s d"]) -> Float[Array, "s e"]:
        """Returns the head's output for each text."""
        y = jnp.matmul(x, self.w.astype(jnp.float32), precision="highest")
        y = y if self.b is None else y + self.b.astype(jnp.float32)
        activated: Array = ACTIVATIONS[self.activation](y)
        return activated


def finish(x: Float[Array, "s e"], dims: Int[Array, " s"], normalize: Bool[Array, " s"]) -> Float[Array, "s e"]:
    """Zeroes what lies beyond each vector's `dims`, then gives unit length to those that want it."""
    x = jnp.where(jnp.arange(x.shape[-1]) < dims[:, None], x, 0)
    return jnp.where(normalize[:, None], unit(x), x)


def unit(x: Float[Array, "*s d"]) -> Float[Array, "*s d"]:
    """Returns x / max(|x|, 1e-12), as torch's `normalize` does."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def behind(
    x: Float[Array, "s d"], dims: Int[Array, " s"] | None, normalize: Bool[Array, " s"] | None, dense: Dense | None
) -> Float[Array, "s e"]:
    """Everything that follows the pooling itself."""
    x = x if dense is None else dense(x)
    return x if dims is None or normalize is None else finish(x, dims, normalize)


def unmet_by_any_kernel(shape: PoolShape, tiles: Tiles) -> list[str]:
    """What is missing before a kernel, be it for a TPU or a GPU, can serve `shape` with `tiles` of texts and tokens."""
    texts, tokens = tiles
    return misses(
        (len(shape.modes) == 1, f"{len(shape.modes)} modes are asked for side by side"),
        (shape.width % 128 == 0, f"width {shape.width} is not a multiple of 128"),
        (shape.t % tokens == 0, f"a row of {shape.t} tokens is not a whole number of tiles of {tokens}"),
        (shape.texts % texts == 0, f"{shape.texts} places for texts are not a whole number of tiles of {texts}"),
    )
