"""The encoder of T5 (arXiv 1910.10683): pre-norm layers without biases, a bias by distance shared by all, scores not scaled.

Numerics follow transformers' `modeling_t5.py`.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.kernels_pallas import RelativeBias, Spans
from jaxembed.layers import ACTIVATIONS, Heads, Linear, Merge, RMSNorm, distance_bias, stacked
from jaxembed.layers.run import Run
from jaxembed.models.backbone import BackboneConfig
from jaxembed.packing.packed import Packed


@dataclass(frozen=True, kw_only=True)
class T5Config(BackboneConfig):
    """The sizes of a T5 encoder. buckets, far: of its bias by distance, as `layers.distance_bias` has them."""

    heads: int
    head_width: int
    mlp_width: int
    activation: str
    epsilon: float
    longest: int
    buckets: int
    far: int
    gated: bool


class Layer(nnx.Module):
    """Attention and an MLP, each on a normalized copy of its input and added to it."""

    def __init__(self, config: T5Config) -> None:
        d, n, h = config.width, config.heads, config.head_width
        self.attention_norm = RMSNorm(d, epsilon=config.epsilon)
        self.q = Heads(d, n, h, bias=False)
        self.k = Heads(d, n, h, bias=False)
        self.v = Heads(d, n, h, bias=False)
        self.out = Merge(d, n, h, bias=False)
        self.mlp_norm = RMSNorm(d, epsilon=config.epsilon)
        self.gate = Linear(d, config.mlp_width, bias=False) if config.gated else None
        self.up = Linear(d, config.mlp_width, bias=False)
        self.down = Linear(config.mlp_width, d, bias=False)
        self.activation = config.activation

    def __call__(self, x: Float[Array, "t d"], run: Run, spans: Spans, bias: RelativeBias) -> Float[Array, "t d"]:
        y = self.attention_norm(x)
        q, k, v = self.q(y), self.k(y), self.v(y)
        x += self.out(run.attention(q, k, v, spans, scale=1.0, bias=bias))
        y, activate = self.mlp_norm(x), ACTIVATIONS[self.activation]
        return x + self.down(activate(self.up(y)) if self.gate is None else activate(self.gate(y)) * self.up(y))


class T5(nnx.Module):
    """The encoder: normalized hidden states of the last layer."""

    def __init__(self, config: T5Config) -> None:
        self.words = nnx.Param(jnp.zeros((config.vocabulary, config.width)))
        self.distances = nnx.Param(jnp.zeros((config.buckets, config.heads)))
        self.layers = stacked(lambda: Layer(config), config.layers)
        self.norm = RMSNorm(config.width, epsilon=config.epsilon)
        self.far = config.far

    def __call__(self, packed: Packed, run: Run) -> Float[Array, "t d"]:
        """Returns the normalized last hidden state of every token."""
        bias = distance_bias(self.distances[...], far=self.far)
        x = self.words[...][packed.tokens]
        return self.norm(run.layers(self.layers, x, packed.spans(causal=False), bias))
