"""ModernBERT (arXiv 2412.13663): pre-norm layers, rotary positions, most layers with a window, a GELU-gated MLP, few biases.

Sliding and full layers turn by different bases. The first layer has no norm before its attention, because the embeddings end
in one. Numerics follow transformers' `modeling_modernbert.py`.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.kernels_pallas import Spans
from jaxembed.layers import ACTIVATIONS, Heads, LayerNorm, Linear, Merge, stacked
from jaxembed.layers.rotary import Rotary, rotate
from jaxembed.layers.run import Run
from jaxembed.models.backbone import BackboneConfig
from jaxembed.packing.packed import Packed


@dataclass(frozen=True, kw_only=True)
class ModernBertConfig(BackboneConfig):
    """The sizes of a ModernBERT.

    reach: how many tokens to either side a token of a sliding layer sees. sliding: for each layer whether it is one. local,
    full: the rotary positions of sliding and of full layers.
    """

    heads: int
    mlp_width: int
    activation: str
    epsilon: float
    longest: int
    reach: int
    sliding: tuple[bool, ...]
    local: Rotary
    full: Rotary
    attention_bias: bool
    mlp_bias: bool
    norm_bias: bool

    def norm(self) -> LayerNorm:
        """Declares one of its norms."""
        return LayerNorm(self.width, epsilon=self.epsilon, bias=self.norm_bias)


class Layer(nnx.Module):
    """Attention and a gated MLP, each on a normalized copy of its input and added to it."""

    def __init__(self, config: ModernBertConfig, *, first: bool) -> None:
        d, n, h = config.width, config.heads, config.width // config.heads
        self.attention_norm = None if first else config.norm()
        self.q = Heads(d, n, h, bias=config.attention_bias)
        self.k = Heads(d, n, h, bias=config.attention_bias)
        self.v = Heads(d, n, h, bias=config.attention_bias)
        self.out = Merge(d, n, h, bias=config.attention_bias)
        self.mlp_norm = config.norm()
        self.gate = Linear(d, config.mlp_width, bias=config.mlp_bias)
        self.up = Linear(d, config.mlp_width, bias=config.mlp_bias)
        self.down = Linear(config.mlp_width, d, bias=config.mlp_bias)
        self.activation = config.activation

    def __call__(self, x: Float[Array, "t d"], run: Run, option: tuple[Spans, tuple[Array, Array]]) -> Float[Array, "t d"]:
        spans, angles = option
        y = x if self.attention_norm is None else self.attention_norm(x)
        q, k, v = rotate(self.q(y), *angles), rotate(self.k(y), *angles), self.v(y)
        x += self.out(run.attention(q, k, v, spans, scale=q.shape[-1] ** -0.5))
        y = self.mlp_norm(x)
        return x + self.down(ACTIVATIONS[self.activation](self.gate(y)) * self.up(y))


class ModernBert(nnx.Module):
    """The encoder: normalized hidden states of the last layer."""

    def __init__(self, config: ModernBertConfig) -> None:
        self.words = nnx.Param(jnp.zeros((config.vocabulary, config.width)))
        self.word_norm = config.norm()
        self.first = Layer(config, first=True)
        self.layers = stacked(lambda: Layer(config, first=False), config.layers - 1)
        self.norm = config.norm()
        self.config = config

    def __call__(self, packed: Packed, run: Run) -> Float[Array, "t d"]:
        """Returns the normalized last hidden state of every token."""
        config, everything = self.config, packed.spans(causal=False)
        places = packed.positions(), packed.lengths_of_tokens()
        options = (
            (everything, config.full.tables(*places)),
            (everything.within(config.reach, config.reach), config.local.tables(*places)),
        )
        which = tuple(int(slides) for slides in config.sliding)
        x = self.word_norm(self.words[...][packed.tokens])
        x = self.first(x, run, options[which[0]])
        return self.norm(run.layers(self.layers, x, options=options, choose=which[1:]))
