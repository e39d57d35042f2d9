"""Attention in plain XLA, for every device: whole cells at once where they are small, tiles with skipping where not.

Memory is linear in t. Work follows the tokens that are seen: in a small cell all pairs of the cell, in a large one only
the key tiles between the first and the last key that a tile of queries sees.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxembed.kernels_pallas.backend import Backend, Tiles, nothing
from jaxembed.kernels_pallas.bias import Alibi, RelativeBias
from jaxembed.kernels_pallas.spans import Spans

# Finite, so that a row of nothing but masked scores still subtracts to zero instead of NaN.
MASKED = -1e30

# Up to here all pairs of a cell are computed at once. 12 heads of 32, 512 tokens, two CPU cores, jax 0.12: texts of 64 in
# cells of 64, 128, 256 take 1.0, 1.5, 2.5 ms; one text of 512 takes 7.5 ms as one cell and 5.4 ms in tiles of 128 by 256,
# and short texts in that cell 5.5 ms against 2.9 ms.
SMALL_CELL = 256


def banded(
    q: Float[Array, "t n h"],
    k: Float[Array, "t k h"],
    v: Float[Array, "t k h"],
    spans: Spans,
    *,
    scale: float,
    longest: int,
    tiles: Tiles,
    softcap: float | None,
    bias: Alibi | RelativeBias | None,
) -> Float[Array, "t n h"]:
    """Computes `attention` over a row whose spans never cross a multiple of `longest`, which divides t."""
    if longest <= SMALL_CELL:
        return _cells(q, k, v, spans, scale=scale, softcap=softcap, bias=bias, cell=longest)
    block_q, block_k = tiles
    return _tiles(q, k, v, spans, scale=scale, softcap=softcap, bias=bias, block_q=block_q, block_k=block_k)


BANDED = Backend("banded", None, banded, unmet=nothing, tiles=(128, 256))


def _cells(
    q: Float[Array, "t n h"],
    k: Float[Array, "t k h"],
    v: Float[Array, "t k h"],
    spans: Spans,
    *,
    scale: float,
    softcap: float | None,
    bias: Alibi | RelativeBias | None,
    cell: int,
) -> Float[Array, "t n h"]:
    """All pairs of each cell, the row being a batch of cells."""
    t, n, h = q.shape
    kv = k.shape[1]
    share = n // kv
    place = jnp.arange(t, dtype=jnp.int32).reshape(-1, 1, cell)
    seen = _seen(place, spans.start.reshape(-1, cell, 1), spans.stop.reshape(-1, cell, 1))
    queries = (q * jnp.asarray(scale, q.dtype)).reshape(-1, cell, kv, share, h)
    # Query heads that share a key head are laid behind each other, so that no array has more than five axes.
    queries = queries.transpose(0, 2, 3, 1, 4).reshape(-1, kv, share * cell, h)
    keys, values = k.reshape(-1, cell, kv, h), v.reshape(-1, cell, kv, h)
    scores = jnp.einsum("ckih,cjkh->ckij", queries, keys, preferred_element_type=jnp.float32)
    scores = _capped(scores.reshape(-1, kv, share, cell, cell), softcap)
    if bias is not None:
        # The same in every cell: distances do not know where a cell lies.
        scores += bias.at(place[0] - place[0].T).reshape(kv, share, cell, cell)
    scores = jnp.where(seen[:, None, None], scores, MASKED)
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    total = weights.sum(-1, keepdims=True)
    weights = weights.reshape(-1, kv, share * cell, cell).astype(v.dtype)
    out = jnp.einsum("ckij,cjkh->ckih", weights, values, preferred_element_type=jnp.float32)
    out = out.reshape(-1, kv, share, cell, h) / total
    out = out.transpose(0, 3, 1, 2, 4).reshape(t, n, h)
    return jnp.where((spans.stop > spans.start)[:, None, None], out, 0).astype(q.dtype)


def _tiles(
    q: Float[Array, "t n h"],
    k: Float[Array, "t k h"],
    v: Float[Array, "t k h"],
    spans: Spans,
    *,
    scale: float,
    softcap: float | None,
    bias: Alibi | RelativeBias | None,
    block_q: int,
    block_k: int,
) -> Float[Array, "t n h"]:
    """Online softmax over the key tiles that each tile of queries sees (Milakov and Gimelshein, arXiv 1805.02867)."""
    t, n, h = q.shape
    kv = k.shape[1]
    share = n // kv
    queries = (q * jnp.asarray(scale, q.dtype)).reshape(-1, block_q, kv, share, h)
    queries = queries.transpose(0, 2, 3, 1, 4).reshape(-1, kv, share * block_q, h)
    keys, values = k.transpose(1, 0, 2), v.transpose(1, 0, 2)
    first, last = spans.tiles(block_q, block_k)
    # Rows of queries repeat once for each head of a group.
    starts, stops = (jnp.tile(x.reshape(-1, block_q, 1), (1, share, 1)) for x in (spans.start, spans.stop))

    def tile(args: tuple[Array, ...]) -> Array:
        query, start, stop, low, high, begin = args

        def step(j: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            highest, total, out = carry
            key = jax.lax.dynamic_slice_in_dim(keys, j * block_k, block_k, axis=1)
            value = jax.lax.dynamic_slice_in_dim(values, j * block_k, block_k, axis=1)
            scores = jnp.einsum("kih,kjh->kij", query, key, preferred_element_type=jnp.float32)
            scores = _capped(scores, softcap)
            place = j * block_k + jnp.arange(block_k, dtype=jnp.int32)
            if bias is not None:
                added = bias.at(place - (begin + jnp.arange(block_q, dtype=jnp.int32))[:, None])
                scores += added.reshape(kv, share * block_q, block_k)
            scores = jnp.where(_seen(place, start, stop), scores, MASKED)
            higher = jnp.maximum(highest, scores.max(-1, keepdims=True))
            shrink, weights = jnp.exp(highest - higher), jnp.exp(scores - higher)
            total = total * shrink + weights.sum(-1, keepdims=True)
            part = jnp.einsum("kij,kjh->kih", weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
            return higher, total, out * shrink + part

        rows = share * block_q
        nothing = (jnp.full((kv, rows, 1), MASKED), jnp.zeros((kv, rows, 1)), jnp.zeros((kv, rows, h)))
        _, total, out = jax.lax.fori_loop(low, high, step, nothing)
        # A query that saw only masked scores has weights of exp(0); an empty span is zero by definition.
        averaged: Array = jnp.where(stop > start, out / jnp.maximum(total, 1e-30), 0)
        return averaged

    begins = jnp.arange(0, t, block_q, dtype=jnp.int32)
    out: Array = jax.lax.map(tile, (queries, starts, stops, first, last, begins))
    out = out.reshape(-1, kv, share, block_q, h).transpose(0, 3, 1, 2, 4)
    return out.reshape(t, n, h).astype(q.dtype)


def _seen(place: Array, start: Array, stop: Array) -> Array:
    return (place >= start) & (place < stop)


def _capped(scores: Array, softcap: float | None) -> Array:
    return scores if softcap is None else softcap * jnp.tanh(scores / softcap)
