"""Attention for Hopper: two warpgroups of 64 queries share a stream of key tiles that a third one fetches.

A block visits only the key tiles that its 128 queries see: the pipeline's length is read from memory. Scores and sums stay in
registers, spans are one register row each. The products follow FlashAttention-3 (Shah et al., arXiv 2407.08608): the warpgroups
take turns, so that one is at its products while the other is at its exponentials.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float

from jaxembed.kernels_pallas.backend import HALVES, SHARED_MEMORY, Backend, Tiles, misses
from jaxembed.kernels_pallas.bias import Alibi, RelativeBias
from jaxembed.kernels_pallas.shapes import AttentionShape
from jaxembed.kernels_pallas.spans import Spans

# Masked scores lie so far below where the maximum starts that their weight is exactly zero, however the difference is rounded.
MASKED, LOWEST = -1e30, -1e20

WARPGROUPS = 2
QUERIES = 64  # of one warpgroup: the height of a wgmma
LOG2E = math.log2(math.e)


def mosaic_gpu(
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
    """Computes `attention` for bfloat16 or float16; the tile of queries is 128 and, like the tile of keys, divides t."""
    t, n, h = q.shape
    block_q, block_k = tiles
    assert block_q == WARPGROUPS * QUERIES
    low, high = spans.tiles(block_q, block_k)
    reach = bias.reach if isinstance(bias, RelativeBias) else None
    options = {"scale": scale, "softcap": softcap, "bias": type(bias), "reach": reach}
    kernel = plgpu.kernel(
        partial(_kernel, share=n // k.shape[1], block_k=block_k, width=h, **options),
        out_type=jax.ShapeDtypeStruct(q.shape, q.dtype),
        grid=(n, t // block_q),
        grid_names=("head", "tile"),
        num_threads=WARPGROUPS + 1,
        thread_name="warpgroup",
        scratch_types=(
            plgpu.SMEM((WARPGROUPS, QUERIES, h), q.dtype, transforms=_transforms(h)),
            plgpu.Barrier(num_barriers=WARPGROUPS),
            plgpu.Barrier(num_arrivals=WARPGROUPS),
        ),
        compiler_params=plgpu.CompilerParams(
            approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Warpgroup, reduction_scratch_bytes=6144
        ),
        kernel_name="packed_attention",
    )
    out: Array = kernel(q, k, v, spans.start, spans.stop, low, high, _bias_operand(bias, block_q, block_k))
    return out


def unmet(shape: AttentionShape, tiles: Tiles) -> list[str]:
    """What is missing before the kernel can serve `shape` with `tiles` of queries and keys."""
    block_q, block_k = tiles
    fits = shape.t % block_q == 0 and shape.t % block_k == 0
    of_bias = block_q * block_k * 4 * 2 if shape.bias == "relative" else 0
    held = 2 * shape.width * (block_q + 4 * block_k) + of_bias + 7 * 1024
    return misses(
        (block_q == WARPGROUPS * QUERIES, f"a tile of {block_q} queries is not the 128 of two warpgroups"),
        (fits, f"a row of {shape.t} tokens is not a whole number of tiles"),
        (shape.width % 16 == 0 and shape.width <= 256, f"head width {shape.width} is not a multiple of 16 up to 256"),
        (shape.dtype in HALVES, f"{shape.dtype} is not one of the types that the tensor cores take exactly"),
        (shape.reach <= 1024, f"a bias that reaches {shape.reach} tokens has too many different tiles"),
        (held <= SHARED_MEMORY, f"{held >> 10} KiB of shared memory are more than the 227 of a block"),
    )


MOSAIC_GPU = Backend("mosaic_gpu", "gpu", mosaic_gpu, unmet)


def _kernel(
    q, k, v, start, stop, low, high, bias_ref, out, query, arrived, turn, *, scale, softcap, bias, reach, share, block_k, width
):
    head, tile, me = (jax.lax.axis_index(name) for name in ("head", "tile", "warpgroup"))
    first, steps = low[tile], high[tile] - low[tile]
    # Without a soft cap or a bias the scale is left to the exponent, where it costs nothing.
    late = softcap is None and bias is type(None)
    factor = (scale if late else 1.0) * LOG2E
    rows = pl.ds((tile * WARPGROUPS + me) * QUERIES, QUERIES)

    def compute(pipeline):
        mine = query.at[me]
        plgpu.copy_gmem_to_smem(q.at[rows, head], mine, arrived.at[me])
        plgpu.barrier_wait(arrived.at[me])
        pl.when(me == 1)(lambda: _take_turn(turn))
        spans = [plgpu.load(x.at[rows], layout=plgpu.Layout.WGMMA.reduce(1), optimized=False) for x in (start, stop)]
        highest, total = (_row(jnp.full((QUERIES,), x, jnp.float32)) for x in (LOWEST, 0.0))
        *_, total, sums = pipeline((*spans, highest, total, _tile_of_zeros(width)))
        pl.when(me == 0)(lambda: _take_turn(turn))
        # Nothing seen leaves both at zero.
        total = jnp.where(total > 0, total, 1.0)
        mine[...] = (sums / jax.lax.broadcast_in_dim(total, sums.shape, [0])).astype(out.dtype)
        plgpu.commit_smem()
        plgpu.copy_smem_to_gmem(mine, out.at[rows, head])
        plgpu.wait_smem_to_gmem(0)

    def step(indices, key, value, *rest):
        *added, carry = rest
        begin, end, highest, total, sums = carry
        scores = _scores(query.at[me], key, turn)
        if not late:
            scores *= scale
        if softcap is not None:
            scores = softcap * _tanh(scores / softcap)
        place = plgpu.broadcasted_iota(jnp.int32, scores.shape, 1, layout=plgpu.Layout.WGMMA) + (first + indices[0]) * block_k
        if bias is Alibi:
            row = plgpu.broadcasted_iota(jnp.int32, scores.shape, 0, layout=plgpu.Layout.WGMMA) + rows.start
            scores -= bias_ref[head] * jnp.abs((place - row).astype(jnp.float32))
        if bias is RelativeBias:
            scores += plgpu.load(added[0].at[pl.ds(me * QUERIES, QUERIES)], layout=plgpu.Layout.WGMMA)
            plgpu.commit_smem()  # read by threads, overwritten by the copy engine
        seen = (place >= _across(begin, scores.shape)) & (place < _across(end, scores.shape))
        scores = jnp.where(seen, scores, MASKED)
        higher = jnp.maximum(highest, scores.max(axis=1))
        shrink = jnp.exp2((highest - higher) * factor)
        weights = jnp.exp2(scores * factor - _across(higher * factor, scores.shape))
        total = total * shrink + weights.sum(axis=1)
        sums *= _across(shrink, sums.shape)
        _take_turn(turn)
        return begin, end, higher, total, _accumulate(sums, weights.astype(value.dtype), value)

    specs = [plgpu.BlockSpec((block_k, width), lambda j: (first + j, 0), transforms=_transforms(width))] * 2
    operands = [x.at[:, head // share] for x in (k, v)]
    if bias is RelativeBias:
        specs.append(_diagonal_spec(reach, first, tile, WARPGROUPS * QUERIES, block_k))
        operands.append(bias_ref.at[head])
    plgpu.emit_pipeline_warp_specialized(
        step,
        grid=(steps,),
        in_specs=specs,
        max_concurrent_steps=2,
        num_compute_wgs=WARPGROUPS,
        memory_registers=40,
        wg_axis="warpgroup",
        compute_context=compute,
    )(*operands)


def _scores(query, key, turn):
    """Query · keyᵀ, float32 in registers."""

    def product(sums):
        plgpu.wgmma(sums, query, key.T)
        _take_turn(turn)
        return sums[...]

    return pl.run_scoped(product, plgpu.ACC((query.shape[0], key.shape[0]), jnp.float32))


def _accumulate(sums, weights, value):
    """Adds weights · value to sums, the weights in registers: what jax's interpreter cannot run, and tests replace."""
    return pl.run_state(lambda ref: plgpu.wgmma(ref, weights, value))(plgpu.ACC.init(sums))


def _take_turn(turn):
    plgpu.barrier_arrive(turn)
    plgpu.barrier_wait(turn)


def _transforms(width: int) -> tuple[Any, ...]:
    """How a tile of bfloat16 rows lies in shared memory: in swizzled pieces as wide as its rows allow."""
    elements = next(e for e in (64, 32, 16) if width % e == 0)
    return plgpu.TilingTransform((8, elements)), plgpu.SwizzleTransform(2 * elements)


def _row(x: Array) -> Array:
    return plgpu.layout_cast(x, plgpu.Layout.WGMMA.reduce(1))


def _tile_of_zeros(width: int) -> Array:
    return plgpu.layout_cast(jnp.zeros((QUERIES, width), jnp.float32), plgpu.Layout.WGMMA)


def _across(row: Array, shape: tuple[int, ...]) -> Array:
    return jax.lax.broadcast_in_dim(row, shape, [0])


def _tanh(x: Array) -> Array:
    """Tanh to float32's precision: the hardware's own is good for 11 bits, which a cap of 50 makes 0.02 of a score."""
    return 1.0 - 2.0 / (1.0 + jnp.exp2(x * (2 * LOG2E)))


def _bias_operand(bias: Alibi | RelativeBias | None, block_q: int, block_k: int) -> Array:
    """Returns slopes [n], or each head's different tiles of bias, one below the other, [n, o · block_q, block_k]."""
    if bias is None:
        return jnp.zeros(1, jnp.float32)
    if isinstance(bias, Alibi):
        return bias.slopes.astype(jnp.float32)
    grain = math.gcd(block_q, block_k)
    least, most = _offsets(bias.reach, block_q, block_k)
    inside = jnp.arange(block_k, dtype=jnp.int32) - jnp.arange(block_q, dtype=jnp.int32)[:, None]
    tiles = bias.at(jnp.arange(least, most + 1, grain, dtype=jnp.int32)[:, None, None] + inside)
    return tiles.reshape(tiles.shape[0], -1, block_k)


def _diagonal_spec(reach: int, first: Array, tile: Array, block_q: int, block_k: int) -> plgpu.BlockSpec:
    """The tile of bias at step j, among those that `_bias_operand` lists."""
    least, most = _offsets(reach, block_q, block_k)

    def index(j: Array) -> tuple[Array, int]:
        offset = jnp.clip((first + j) * block_k - tile * block_q, least, most)
        return (offset - least) // math.gcd(block_q, block_k), 0

    return plgpu.BlockSpec((block_q, block_k), index)


def _offsets(reach: int, block_q: int, block_k: int) -> tuple[int, int]:
    """Returns the first and last offset of a tile's first key from its first query that give tiles of their own.

    Before and behind these every distance in the tile is beyond the bias's reach, where it is constant.
    """
    grain = math.gcd(block_q, block_k)
    return -grain * -(-(reach + block_k) // grain), grain * -(-(reach + block_q) // grain)
