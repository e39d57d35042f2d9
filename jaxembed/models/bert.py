"""BERT (arXiv 1810.04805) and those that share its layers, told apart by sizes alone.

RoBERTa, XLM-RoBERTa and CamemBERT begin their positions elsewhere; DistilBERT has no token types; ERNIE adds a task type; MPNet
(arXiv 2004.09297) adds a bias by distance; ELECTRA and ALBERT have embeddings narrower than their layers, and ALBERT (arXiv
1909.11942) runs one layer many times. Numerics follow transformers' files of these names: post-norm layers, absolute positions.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas import RelativeBias, Spans
from jaxembed.layers import ACTIVATIONS, Heads, LayerNorm, Linear, Merge, distance_bias, stacked
from jaxembed.layers.run import Run
from jaxembed.models.backbone import BackboneConfig
from jaxembed.packing.packed import Packed


@dataclass(frozen=True, kw_only=True)
class BertConfig(BackboneConfig):
    """The sizes of a BERT; 0 stands for a part that it does not have.

    first_position: the row of the position table that a text's first token reads; where it is not 0, the row before it is that
    of the padding token, which is no position wherever it stands, as in fairseq. tasks: ERNIE's task types, of which texts
    have the first. embedding_width, projected: of the embeddings, and whether a projection leads from there to the width of
    the layers. layers: how many have weights of their own; repeats: how often each runs. buckets: of MPNet's bias by distance.
    """

    positions: int
    types: int
    heads: int
    mlp_width: int
    activation: str
    epsilon: float
    embedding_width: int
    projected: bool = False
    first_position: int = 0
    tasks: int = 0
    repeats: int = 1
    buckets: int = 0

    @property
    def longest(self) -> int:
        """The longest text that the position table has room for."""
        return self.positions - self.first_position


class Embeddings(nnx.Module):
    """Words, positions and token types, summed and normalized."""

    def __init__(self, config: BertConfig) -> None:
        d = config.embedding_width
        self.words = nnx.Param(jnp.zeros((config.vocabulary, d)))
        self.positions = nnx.Param(jnp.zeros((config.positions, d)))
        self.types = nnx.Param(jnp.zeros((config.types, d))) if config.types else None
        self.tasks = nnx.Param(jnp.zeros((config.tasks, d))) if config.tasks else None
        self.norm = LayerNorm(d, epsilon=config.epsilon)
        self.projection = Linear(d, config.width, bias=True) if config.projected else None
        self.first_position = config.first_position

    def __call__(self, packed: Packed) -> Float[Array, "t d"]:
        x = self.words[...][packed.tokens] + self.positions[...][self._rows(packed)]
        if self.types is not None:
            types = self.types[...]
            x += types[0] if packed.types is None else types[packed.types]
        if self.tasks is not None:
            x += self.tasks[...][0]
        x = self.norm(x)
        return x if self.projection is None else self.projection(x)

    def _rows(self, packed: Packed) -> Int[Array, " t"]:
        """The row of the position table that each token reads."""
        if not self.first_position:
            return packed.positions()
        padding = self.first_position - 1
        return padding + packed.positions_without(padding)


class Layer(nnx.Module):
    """Attention and a two-layer MLP, each added to its input and then normalized."""

    def __init__(self, config: BertConfig) -> None:
        d, n, h = config.width, config.heads, config.width // config.heads
        self.q = Heads(d, n, h, bias=True)
        self.k = Heads(d, n, h, bias=True)
        self.v = Heads(d, n, h, bias=True)
        self.out = Merge(d, n, h, bias=True)
        self.attention_norm = LayerNorm(d, epsilon=config.epsilon)
        self.up = Linear(d, config.mlp_width, bias=True)
        self.down = Linear(config.mlp_width, d, bias=True)
        self.mlp_norm = LayerNorm(d, epsilon=config.epsilon)
        self.activation, self.repeats = config.activation, config.repeats

    def __call__(self, x: Float[Array, "t d"], run: Run, spans: Spans, bias: RelativeBias | None) -> Float[Array, "t d"]:
        def once(x: Array) -> Array:
            q, k, v = self.q(x), self.k(x), self.v(x)
            seen = run.attention(q, k, v, spans, scale=q.shape[-1] ** -0.5, bias=bias)
            x = self.attention_norm(x + self.out(seen))
            return self.mlp_norm(x + self.down(ACTIVATIONS[self.activation](self.up(x))))

        if self.repeats == 1:
            return once(x)
        repeated: Array = jax.lax.fori_loop(0, self.repeats, lambda _, x: once(x), x)
        return repeated


class Bert(nnx.Module):
    """The encoder: hidden states of the last layer."""

    def __init__(self, config: BertConfig) -> None:
        self.embeddings = Embeddings(config)
        self.layers = stacked(lambda: Layer(config), config.layers)
        self.distances = nnx.Param(jnp.zeros((config.buckets, config.heads))) if config.buckets else None

    def __call__(self, packed: Packed, run: Run) -> Float[Array, "t d"]:
        """Returns the last hidden state of every token."""
        bias = None if self.distances is None else distance_bias(self.distances[...])
        x = self.embeddings(packed)
        return run.layers(self.layers, x, packed.spans(causal=False), bias)
