"""Normalization of activations, computed in float32 whatever the weights are."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class LayerNorm(nnx.Module):
    """(x - mean) / sqrt(variance + epsilon) · scale + bias over the last axis, computed in float32.

    scaled: whether there is a scale. from_one: it is stored less one, as Nemotron does.
    """

    def __init__(self, width: int, *, epsilon: float, bias: bool = True, scaled: bool = True, from_one: bool = False) -> None:
        self.scale = nnx.Param(jnp.zeros(width)) if scaled else None
        self.bias = nnx.Param(jnp.zeros(width)) if bias else None
        self.epsilon, self.from_one = epsilon, from_one

    def __call__(self, x: Float[Array, "*t d"]) -> Float[Array, "*t d"]:
        wide = x.astype(jnp.float32)
        centered = wide - wide.mean(-1, keepdims=True)
        variance = jnp.square(centered).mean(-1, keepdims=True)
        normal = centered * jax.lax.rsqrt(variance + self.epsilon)
        if self.scale is None:
            return normal.astype(x.dtype)
        scale = self.scale[...].astype(jnp.float32)
        scaled = normal * (1 + scale if self.from_one else scale)
        return (scaled if self.bias is None else scaled + self.bias[...].astype(jnp.float32)).astype(x.dtype)


class RMSNorm(nnx.Module):
    """x / sqrt(mean(x²) + epsilon) · scale over the last axis, computed in float32 (Zhang and Sennrich, arXiv 1910.07467).

    from_one: the scale is stored less one, as Gemma does. wide: scaled in float32 too; those stored less one always are.
    """

    def __init__(self, width: int, *, epsilon: float, from_one: bool = False, wide: bool = False) -> None:
        self.scale = nnx.Param(jnp.zeros(width))
        self.epsilon, self.from_one, self.wide = epsilon, from_one, wide

    def __call__(self, x: Float[Array, "*t d"]) -> Float[Array, "*t d"]:
        wide = x.astype(jnp.float32)
        normal = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.epsilon)
        if self.from_one:
            return (normal * (1 + self.scale[...].astype(jnp.float32))).astype(x.dtype)
        if self.wide:
            return (normal * self.scale[...].astype(jnp.float32)).astype(x.dtype)
        # The reference rounds to the activations' type before it scales.
        return normal.astype(x.dtype) * self.scale[...]
