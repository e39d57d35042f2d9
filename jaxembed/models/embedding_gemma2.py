"""The text half of EmbeddingGemma 2: an encoder of Gemma's layers, every n-th of them full and with wider heads.

After attention and MLP each layer mixes in a signal of its own, a projection of the word vectors, through a narrow gate; its
output is then multiplied by one number. Numerics follow transformers' `modeling_embedding_gemma2.py`.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.kernels_pallas import Spans
from jaxembed.layers import ACTIVATIONS, Heads, Linear, Merge, RMSNorm, stacked
from jaxembed.layers.rotary import Rotary, rotate
from jaxembed.layers.run import Run
from jaxembed.models.backbone import BackboneConfig
from jaxembed.packing.packed import Packed


@dataclass(frozen=True)
class LayerType:
    """What sliding and full layers have of their own. reach: tokens seen to either side, None for all of the text."""

    key_heads: int
    head_width: int
    rotary: Rotary
    reach: int | None


@dataclass(frozen=True, kw_only=True)
class EmbeddingGemma2Config(BackboneConfig):
    """The sizes of an EmbeddingGemma 2.

    period: layers in a group, of which the last is full. signal_width: of the signal that each layer mixes in. outputs: width
    of the linear layer behind the last norm.
    """

    heads: int
    mlp_width: int
    activation: str
    epsilon: float
    longest: int
    period: int
    sliding: LayerType
    full: LayerType
    signal_width: int
    outputs: int

    @property
    def output_width(self) -> int:
        """The width of the hidden states that come out."""
        return self.outputs


class Layer(nnx.Module):
    """Attention, an MLP and the signal, each between two norms or behind one and added to its input."""

    def __init__(self, config: EmbeddingGemma2Config, layer_type: LayerType) -> None:
        d, h, f = config.width, layer_type.head_width, config.mlp_width
        self.attention_norm, self.attention_end = (RMSNorm(d, epsilon=config.epsilon, wide=True) for _ in range(2))
        self.q = Heads(d, config.heads, h, bias=False)
        self.k = Heads(d, layer_type.key_heads, h, bias=False)
        self.v = Heads(d, layer_type.key_heads, h, bias=False)
        self.q_norm, self.k_norm = (RMSNorm(h, epsilon=config.epsilon, wide=True) for _ in range(2))
        self.out = Merge(d, config.heads, h, bias=False)
        self.mlp_norm, self.mlp_end = (RMSNorm(d, epsilon=config.epsilon, wide=True) for _ in range(2))
        self.gate = Linear(d, f, bias=False)
        self.up = Linear(d, f, bias=False)
        self.down = Linear(f, d, bias=False)
        self.signal_gate = Linear(d, config.signal_width, bias=False)
        self.signal_out = Linear(config.signal_width, d, bias=False)
        self.signal_end = RMSNorm(d, epsilon=config.epsilon, wide=True)
        self.share = nnx.Param(jnp.zeros(1))
        self.activation, self.epsilon = config.activation, config.epsilon

    def __call__(
        self,
        x: Float[Array, "t d"],
        run: Run,
        signal: Float[Array, "t p"],
        spans: Spans,
        angles: tuple[Array, Array],
    ) -> Float[Array, "t d"]:
        activate = ACTIVATIONS[self.activation]
        y = self.attention_norm(x)
        q, k = rotate(self.q_norm(self.q(y)), *angles), rotate(self.k_norm(self.k(y)), *angles)
        seen = run.attention(q, k, self._plain_norm(self.v(y)), spans, scale=1.0)
        x += self.attention_end(self.out(seen))
        y = self.mlp_norm(x)
        x += self.mlp_end(self.down(activate(self.gate(y)) * self.up(y)))
        x += self.signal_end(self.signal_out(activate(self.signal_gate(x)) * signal))
        return x * self.share[...]

    def _plain_norm(self, v: Float[Array, "t k h"]) -> Float[Array, "t k h"]:
        """An RMS norm without a scale."""
        wide = v.astype(jnp.float32)
        return (wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + self.epsilon)).astype(v.dtype)


class Group(nnx.Module):
    """Sliding layers and a full one."""

    def __init__(self, config: EmbeddingGemma2Config) -> None:
        self.sliding = nnx.List([Layer(config, config.sliding) for _ in range(config.period - 1)])
        self.full = Layer(config, config.full)

    def __call__(
        self,
        x: Float[Array, "t d"],
        run: Run,
        near: tuple[Spans, tuple[Array, Array]],
        far: tuple[Spans, tuple[Array, Array]],
        signals: Float[Array, "g t p"],
    ) -> Float[Array, "t d"]:
        """signals: one for each layer of the group."""
        for number, layer in enumerate(self.sliding):
            x = layer(x, run, signals[number], *near)
        return self.full(x, run, signals[-1], *far)


class EmbeddingGemma2(nnx.Module):
    """The encoder: what the last linear layer makes of the normalized hidden states."""

    def __init__(self, config: EmbeddingGemma2Config) -> None:
        self.words = nnx.Param(jnp.zeros((config.vocabulary, config.width)))
        self.signals = nnx.Param(jnp.zeros((config.layers, config.signal_width, config.width)))
        self.signal_norm = RMSNorm(config.signal_width, epsilon=config.epsilon, wide=True)
        self.groups = stacked(lambda: Group(config), config.layers // config.period)
        self.norm = RMSNorm(config.width, epsilon=config.epsilon, wide=True)
        self.linear = Linear(config.width, config.outputs, bias=False)
        self.config = config

    def __call__(self, packed: Packed, run: Run) -> Float[Array, "t e"]:
        """Returns the vector of every token."""
        config = self.config
        x = self.words[...][packed.tokens]
        x *= jnp.asarray(config.width**0.5, x.dtype)
        signals = self.signal_norm(jnp.einsum("td,lpd->ltp", x, self.signals[...]) * config.width**-0.5)
        groups = signals.reshape(-1, config.period, *signals.shape[1:])
        near, far = self._seen(packed, config.sliding), self._seen(packed, config.full)
        count = groups.shape[0]
        each = tuple(groups[number] for number in range(count))
        x = run.layers(self.groups, x, near, far, options=each, choose=range(count))
        return self.linear(self.norm(x))

    def _seen(self, packed: Packed, layer_type: LayerType) -> tuple[Spans, tuple[Array, Array]]:
        spans = packed.spans(causal=False)
        spans = spans if layer_type.reach is None else spans.within(layer_type.reach, layer_type.reach)
        return spans, layer_type.rotary.tables(packed.positions(), packed.lengths_of_tokens())
