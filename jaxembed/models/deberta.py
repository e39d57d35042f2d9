"""DeBERTa v2 and v3 (arXiv 2006.03654, 2111.09543): post-norm layers whose attention is disentangled.

A score is the sum of content to content, content to position and position to content, each a product of vectors, so it is no
bias by distance and no kernel of ours adds it: attention is plain XLA over whole cells. Numerics follow transformers'
`modeling_deberta_v2.py`.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas import Spans
from jaxembed.kernels_pallas.finite import apart
from jaxembed.layers import ACTIVATIONS, Heads, LayerNorm, Linear, Merge, stacked
from jaxembed.layers.run import Run
from jaxembed.models.backbone import BackboneConfig
from jaxembed.packing.packed import Packed


@dataclass(frozen=True, kw_only=True)
class DebertaConfig(BackboneConfig):
    """The sizes of a DeBERTa; 0 stands for a part that it does not have.

    positions: rows of a table added to words. span: how many distances to either side have an embedding. buckets: if not 0,
    distances beyond half of them share embeddings by their logarithm, up to `far`. shared: whether positions go through the
    same projections as content. to_position, from_position: which of the two further terms there are.
    """

    positions: int
    types: int
    heads: int
    mlp_width: int
    activation: str
    epsilon: float
    longest: int
    span: int
    buckets: int
    far: int
    shared: bool
    to_position: bool
    from_position: bool
    position_norm: bool

    @property
    def scale(self) -> float:
        """Of each term of a score."""
        terms = 1 + self.to_position + self.from_position
        return 1 / math.sqrt(self.width // self.heads * terms)

    def bucket(self, distance: Int[Array, "..."]) -> Int[Array, "..."]:
        """Returns the row among 2 · span of the embedding of a distance, query less key."""
        if self.buckets:
            mid = self.buckets // 2
            away = jnp.where(jnp.abs(distance) < mid, mid - 1, jnp.abs(distance)).astype(jnp.float32)
            growing = jnp.ceil(jnp.log(away / mid) / math.log((self.far - 1) / mid) * (mid - 1)) + mid
            distance = jnp.where(away <= mid, distance, growing * jnp.sign(distance)).astype(jnp.int32)
        return jnp.clip(distance + self.span, 0, 2 * self.span - 1)


class Layer(nnx.Module):
    """Disentangled attention and a two-layer MLP, each added to its input and then normalized."""

    def __init__(self, config: DebertaConfig) -> None:
        d, n, h = config.width, config.heads, config.width // config.heads
        self.q = Heads(d, n, h, bias=True)
        self.k = Heads(d, n, h, bias=True)
        self.v = Heads(d, n, h, bias=True)
        self.position_q = Heads(d, n, h, bias=True) if not config.shared and config.from_position else None
        self.position_k = Heads(d, n, h, bias=True) if not config.shared and config.to_position else None
        self.out = Merge(d, n, h, bias=True)
        self.attention_norm = LayerNorm(d, epsilon=config.epsilon)
        self.up = Linear(d, config.mlp_width, bias=True)
        self.down = Linear(config.mlp_width, d, bias=True)
        self.mlp_norm = LayerNorm(d, epsilon=config.epsilon)
        self.config = config

    def __call__(self, x: Float[Array, "t d"], run: Run, spans: Spans, places: Float[Array, "p d"]) -> Float[Array, "t d"]:
        """places: the embeddings of distances."""
        x = self.attention_norm(x + self.out(self.attend(x, spans, run.cell, places)))
        return self.mlp_norm(x + self.down(ACTIVATIONS[self.config.activation](self.up(x))))

    def attend(self, x: Float[Array, "t d"], spans: Spans, cell: int, places: Float[Array, "p d"]) -> Float[Array, "t n h"]:
        config = self.config
        q, k, v = (one.reshape(-1, cell, *one.shape[1:]) for one in (self.q(x), *apart(self.k(x), self.v(x))))
        place = jnp.arange(cell, dtype=jnp.int32)
        rows = config.bucket(place[:, None] - place)
        scores = jnp.einsum("cinh,cjnh->cnij", q, k, preferred_element_type=jnp.float32)
        if config.to_position:
            keys = (self.position_k or self.k)(places)
            each = jnp.einsum("cinh,pnh->cnip", q, keys, preferred_element_type=jnp.float32)
            scores += jnp.take_along_axis(each, rows[None, None], axis=-1)
        if config.from_position:
            queries = (self.position_q or self.q)(places)
            each = jnp.einsum("cjnh,pnh->cnjp", k, queries, preferred_element_type=jnp.float32)
            # Row j, column i of the reference's table is the bucket of i - j, so its transpose is what is added.
            scores += jnp.take_along_axis(each, rows.T[None, None], axis=-1).swapaxes(-1, -2)
        at = jnp.arange(x.shape[0], dtype=jnp.int32).reshape(-1, 1, cell)
        seen = (at >= spans.start.reshape(-1, cell, 1)) & (at < spans.stop.reshape(-1, cell, 1))
        weights = jax.nn.softmax(jnp.where(seen[:, None], scores * config.scale, -1e30), axis=-1).astype(v.dtype)
        out = jnp.einsum("cnij,cjnh->cinh", weights, v).reshape(x.shape[0], *v.shape[2:])
        return jnp.where((spans.stop > spans.start)[:, None, None], out, 0)


class Deberta(nnx.Module):
    """The encoder: hidden states of the last layer."""

    def __init__(self, config: DebertaConfig) -> None:
        d = config.width
        self.words = nnx.Param(jnp.zeros((config.vocabulary, d)))
        self.positions = nnx.Param(jnp.zeros((config.positions, d))) if config.positions else None
        self.types = nnx.Param(jnp.zeros((config.types, d))) if config.types else None
        self.word_norm = LayerNorm(d, epsilon=config.epsilon)
        self.places = nnx.Param(jnp.zeros((2 * config.span, d)))
        self.place_norm = LayerNorm(d, epsilon=config.epsilon) if config.position_norm else None
        self.layers = stacked(lambda: Layer(config), config.layers)

    def __call__(self, packed: Packed, run: Run) -> Float[Array, "t d"]:
        """Returns the last hidden state of every token."""
        x = self.words[...][packed.tokens]
        if self.positions is not None:
            x += self.positions[...][packed.positions()]
        if self.types is not None:
            x += self.types[...][jnp.zeros_like(packed.tokens) if packed.types is None else packed.types]
        places = self.places[...] if self.place_norm is None else self.place_norm(self.places[...])
        return run.layers(self.layers, self.word_norm(x), packed.spans(causal=False), places)
