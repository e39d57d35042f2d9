"""Products with weights: dense layers, and those from the model's width to attention heads and back."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.layers.int8 import product


class Linear(nnx.Module):
    """x · w + b, with w of shape [inputs, outputs]."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool) -> None:
        self.w = nnx.Param(jnp.zeros((inputs, outputs)))
        self.b = nnx.Param(jnp.zeros(outputs)) if bias else None

    def __call__(self, x: Float[Array, "*t i"]) -> Float[Array, "*t o"]:
        y: Array = product("...i,io->...o", x, self.w[...])
        return y if self.b is None else y + self.b[...]


class Heads(nnx.Module):
    """From model width to heads: [t, d] to [t, n, h]."""

    def __init__(self, width: int, heads: int, head_width: int, *, bias: bool) -> None:
        self.w = nnx.Param(jnp.zeros((width, heads, head_width)))
        self.b = nnx.Param(jnp.zeros((heads, head_width))) if bias else None

    def __call__(self, x: Float[Array, "t d"]) -> Float[Array, "t n h"]:
        y = product("td,dnh->tnh", x, self.w[...])
        return y if self.b is None else y + self.b[...]


class Merge(nnx.Module):
    """From heads back to model width: [t, n, h] to [t, d]."""

    def __init__(self, width: int, heads: int, head_width: int, *, bias: bool) -> None:
        self.w = nnx.Param(jnp.zeros((heads, head_width, width)))
        self.b = nnx.Param(jnp.zeros(width)) if bias else None

    def __call__(self, x: Float[Array, "t n h"]) -> Float[Array, "t d"]:
        y = product("tnh,nhd->td", x, self.w[...])
        return y if self.b is None else y + self.b[...]
