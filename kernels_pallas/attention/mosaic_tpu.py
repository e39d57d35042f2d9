"""Attention for TPUs: online softmax over the key tiles that a tile of queries sees, in fast memory from end to end.

Tokens lie on the lanes ([h, t] a head), so that a head of 64 wastes nothing and what belongs to a query (its span, its maximum,
its sum) is one row of lanes. Scores are transposed: keys down, queries across. A cell's keys and values are fetched whole, once
a head; which of their tiles to visit comes by scalar prefetch.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float

from jaxembed.kernels_pallas.backend import VECTOR_MEMORY, Backend, Tiles, misses
from jaxembed.kernels_pallas.bias import Alibi, RelativeBias
from jaxembed.kernels_pallas.shapes import AttentionShape
from jaxembed.kernels_pallas.spans import Spans

# Masked scores lie so far below where the maximum starts that their weight is exactly zero, however the difference is rounded.
MASKED, LOWEST = -1e30, -1e20


def mosaic_tpu(
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
    """Computes `attention`; the tile of queries divides t, and each of tiles and cell divides the larger ones."""
    t, n, h = q.shape
    share = n // k.shape[1]
    block_q, block_k = tiles
    cell = max(longest, block_q, block_k)
    low, high = spans.tiles(block_q, block_k)
    scalars, extra, extra_spec = _bias_operands(bias, n, cell, block_q, block_k)
    row = pl.BlockSpec((1, block_q), lambda n, i, *_: (0, i))
    query = pl.BlockSpec((1, h, block_q), lambda n, i, *_: (n, 0, i))
    keys = pl.BlockSpec((1, h, cell), lambda n, i, *_: (n // share, 0, i * block_q // cell))
    out = pl.pallas_call(
        partial(_kernel, scale=scale, softcap=softcap, cell=cell, block_q=block_q, block_k=block_k, bias=type(bias)),
        out_shape=jax.ShapeDtypeStruct((n, h, t), q.dtype),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=3,
            grid=(n, t // block_q),
            in_specs=[row, row, query, keys, keys, extra_spec],
            out_specs=query,
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"),
            vmem_limit_bytes=_memory(h, cell, block_q, block_k, q.dtype.itemsize, extra),
        ),
        name="packed_attention",
    )(low, high, scalars, spans.start[None], spans.stop[None], *(x.transpose(1, 2, 0) for x in (q, k, v)), extra)
    return out.transpose(2, 0, 1)


def unmet(shape: AttentionShape, tiles: Tiles) -> list[str]:
    """What is missing before the kernel can serve `shape` with `tiles` of queries and keys."""
    block_q, block_k = tiles
    fits = shape.t % block_q == 0 and shape.t % block_k == 0
    cell = max(shape.longest, block_q, block_k)
    blocks = 4 * shape.width * (cell + block_q) * jnp.dtype(shape.dtype).itemsize
    held = blocks + 5 * block_q * (block_k + shape.width) * 4
    return misses(
        (fits and shape.t % cell == 0, f"a row of {shape.t} tokens is not a whole number of tiles"),
        (cell % block_q == 0 and cell % block_k == 0, f"cells of {cell} are not a whole number of tiles"),
        (shape.width % 8 == 0, f"head width {shape.width} is not a multiple of 8"),
        (shape.dtype in ("bfloat16", "float32"), f"{shape.dtype} is neither bfloat16 nor float32"),
        (held <= VECTOR_MEMORY, f"keys and values of a cell of {cell} take {held >> 20} MiB of vector memory"),
    )


MOSAIC_TPU = Backend("mosaic_tpu", "tpu", mosaic_tpu, unmet)


def _kernel(low, high, slopes, start, stop, q, k, v, table, out, *, scale, softcap, cell, block_q, block_k, bias):
    head, i = pl.program_id(0), pl.program_id(1)
    query = q[0]
    begin, end = start[...], stop[...]  # [1, block_q]
    cell_begin = i * block_q // cell * cell
    # Without a soft cap or a bias the scale is left to the exponent, where it costs nothing.
    late = softcap is None and bias is type(None)
    factor = (scale if late else 1.0) * math.log2(math.e)

    def step(j, carry):
        highest, total, sums = carry
        place = pl.multiple_of(j * block_k, block_k)
        inside = pl.ds(pl.multiple_of(place - cell_begin, block_k), block_k)
        scores = jax.lax.dot_general(
            k[0, :, inside], query, (((0,), (0,)), ((), ())), precision=_precision(query), preferred_element_type=jnp.float32
        )
        if not late:
            scores = scores * scale
        if softcap is not None:
            scores = softcap * jnp.tanh(scores / softcap)
        key = place + jax.lax.broadcasted_iota(jnp.int32, (block_k, block_q), 0)
        if bias is Alibi:
            distance = key - (i * block_q + jax.lax.broadcasted_iota(jnp.int32, (block_k, block_q), 1))
            scores -= slopes[head] * jnp.abs(distance).astype(jnp.float32)
        if bias is RelativeBias:
            scores += _diagonals(table, place - i * block_q, cell, block_q, block_k)
        scores = jnp.where((key >= begin) & (key < end), scores, MASKED)
        higher = jnp.maximum(highest, scores.max(0, keepdims=True))
        shrink = jnp.exp2((highest - higher) * factor)
        weights = jnp.exp2((scores - higher) * factor)
        part = jnp.dot(
            v[0, :, inside], weights.astype(v.dtype), precision=_precision(query), preferred_element_type=jnp.float32
        )
        return higher, total * shrink + weights.sum(0, keepdims=True), sums * shrink + part

    nothing = (
        jnp.full((1, block_q), LOWEST, jnp.float32),
        jnp.zeros((1, block_q), jnp.float32),
        jnp.zeros(query.shape, jnp.float32),
    )
    _, total, sums = jax.lax.fori_loop(low[i], high[i], step, nothing)
    # Nothing seen leaves both at zero.
    out[0] = (sums / jnp.where(total > 0, total, 1.0)).astype(out.dtype)


def _bias_operands(
    bias: Alibi | RelativeBias | None, heads: int, cell: int, block_q: int, block_k: int
) -> tuple[Array, Array, pl.BlockSpec]:
    """Returns slopes for scalar memory, a table by distance for vector memory, and the block of it that a head reads."""
    slopes, table = jnp.zeros(1, jnp.float32), jnp.zeros((1, 1, 128), jnp.float32)
    if isinstance(bias, Alibi):
        slopes = bias.slopes.astype(jnp.float32)
    if isinstance(bias, RelativeBias):
        # Entry m stands for distance cell + block_k - 1 - m: see `_diagonals`.
        table = bias.at(cell + block_k - 1 - jnp.arange(2 * cell + block_k + block_q, dtype=jnp.int32))[:, None]
        return slopes, table, pl.BlockSpec((1, 1, table.shape[2]), lambda n, i, *_: (n, 0, 0))
    return slopes, table, pl.BlockSpec((1, 1, 128), lambda n, i, *_: (0, 0, 0))


def _diagonals(table, offset, cell, block_q, block_k):
    """The bias of a tile whose first key lies `offset` behind its first query, [block_k, block_q]: constant on diagonals.

    Entry (a, b) is the bias at distance offset + a - b. Row a is a window of the table turned by a, which one strided roll
    does for all rows; offsets are multiples of the smaller tile, so the window begins at a multiple of the lanes.
    """
    width = block_q + block_k
    begin = pl.multiple_of(cell - offset, math.gcd(block_q, block_k))
    window = jnp.broadcast_to(table[0, :, pl.ds(begin, width)], (block_k, width))
    # Window entry c is distance offset + block_k - 1 - c; row a needs entry block_k - 1 - a + b at place b.
    return pltpu.roll(window, width - (block_k - 1), 1, stride=1, stride_axis=0)[:, :block_q]


def _precision(x: Array) -> jax.lax.Precision | None:
    """Products of bfloat16 are exact in float32 sums; those of float32 must not be rounded to bfloat16 first."""
    return jax.lax.Precision.HIGHEST if x.dtype == jnp.float32 else None


def _memory(width: int, cell: int, block_q: int, block_k: int, itemsize: int, extra: Array) -> int:
    """Bytes of vector memory: two buffers of every block, the tile's scores and weights, and as much again for the compiler."""
    blocks = 2 * (2 * width * cell + 2 * width * block_q) * itemsize + 2 * 8 * extra.shape[2] * 4
    tile = (3 * block_k + 2 * width) * block_q * 4 + 2 * block_k * (block_q + block_k) * 4
    return int(max(16 << 20, blocks + 3 * tile))
