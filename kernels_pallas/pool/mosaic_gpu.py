"""Pooling for Hopper: one block a text, its warpgroups striding over the text's tokens, the sums in registers.

Nothing is reused, so nothing is staged: a token is read once, as one coalesced row, and a vector written once, finished.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Bool, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Tiles, misses
from jaxembed.kernels_pallas.pool.parts import Dense, behind, unmet_by_any_kernel
from jaxembed.kernels_pallas.shapes import PoolShape

WARPGROUPS = 4
THREADS = 128  # of a warpgroup
ROWS_AT_ONCE = 4  # loads that a warpgroup has under way, to hide their latency


def mosaic_gpu(
    hidden: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    skip: Int[Array, " s"],
    dims: Int[Array, " s"] | None,
    normalize: Bool[Array, " s"] | None,
    dense: Dense | None,
    *,
    modes: tuple[str, ...],
    tiles: Tiles,
) -> Float[Array, "s e"]:
    """Computes `pool` in one mode; d is a multiple of 128. A dense head is one product for all texts, so XLA does that."""
    if dense is not None:
        pooled = mosaic_gpu(hidden, starts, lengths, skip, None, None, None, modes=modes, tiles=tiles)
        return behind(pooled, dims, normalize, dense)
    (mode,) = modes
    d, s = hidden.shape[1], starts.shape[0]
    dims = jnp.full_like(starts, d) if dims is None else dims
    normalized = jnp.zeros_like(starts) if normalize is None else normalize.astype(jnp.int32)
    kernel = plgpu.kernel(
        partial(_kernel, mode=mode),
        out_type=jax.ShapeDtypeStruct((s, d), jnp.float32),
        grid=(s,),
        grid_names=("text",),
        num_threads=WARPGROUPS,
        thread_name="warpgroup",
        scratch_types=(plgpu.SMEM((WARPGROUPS, d), jnp.float32), plgpu.Barrier(num_arrivals=WARPGROUPS)),
        compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        kernel_name="packed_pool",
    )
    out: Array = kernel(hidden, starts, starts + skip, starts + lengths, dims, normalized)
    return out


def unmet(shape: PoolShape, tiles: Tiles) -> list[str]:
    """What is missing before the kernel can serve `shape` with `tiles` of texts and tokens."""
    return [
        *unmet_by_any_kernel(shape, tiles),
        *misses((shape.longest <= 1024, f"a text of up to {shape.longest} tokens would keep one multiprocessor busy")),
    ]


MOSAIC_GPU = Backend("mosaic_gpu", "gpu", mosaic_gpu, unmet)


def _kernel(hidden, starts, firsts, ends, dims, normalized, out, parts, together, *, mode):
    text, me = jax.lax.axis_index("text"), jax.lax.axis_index("warpgroup")
    start, first, end = starts[text], firsts[text], ends[text]
    count = jnp.maximum(end - first, 0)
    t, d = hidden.shape
    combine = jnp.maximum if mode == "max" else jnp.add
    nothing = -jnp.inf if mode == "max" else 0.0
    # From where to where tokens are read; one token for the two modes that choose one.
    low, high = {
        "cls": lambda: (jnp.where(count > 0, first, start), jnp.where(count > 0, first, start) + 1),
        "lasttoken": lambda: (jnp.maximum(end - 1, first), end),
    }.get(mode, lambda: (first, end))()
    low, high = jnp.minimum(low, t - 1), jnp.minimum(high, t)

    def read(place, so_far):
        row = _load(hidden.at[jnp.minimum(place, t - 1)]).astype(jnp.float32)
        if mode == "weightedmean":
            row *= (place - start + 1).astype(jnp.float32)
        return combine(so_far, _where(place < high, row, nothing))

    def step(i, so_far):
        for ahead in range(ROWS_AT_ONCE):
            so_far = read(low + (i * ROWS_AT_ONCE + ahead) * WARPGROUPS + me, so_far)
        return so_far

    stride = WARPGROUPS * ROWS_AT_ONCE
    steps = jax.lax.div(jnp.maximum(high - low, 0) + stride - 1, stride)
    begin = plgpu.layout_cast(jnp.full((d,), nothing, jnp.float32), _strided(d))
    parts[me] = jax.lax.fori_loop(0, steps, step, begin)
    plgpu.barrier_arrive(together)
    plgpu.barrier_wait(together)

    @pl.when(me == 0)
    def _() -> None:
        x = _load(parts.at[0])
        for other in range(1, WARPGROUPS):
            x = combine(x, _load(parts.at[other]))
        x = _finished(x, count, first - start, end - start, dims[text], normalized[text], mode)
        out[text] = x


def _finished(x, count, near, far, dims, normalized, mode):
    n = count.astype(jnp.float32)
    if mode == "weightedmean":
        near, far = near.astype(jnp.float32), far.astype(jnp.float32)
        n = jnp.where(count > 0, (far * (far + 1) - near * (near + 1)) / 2, 0.0)
    if mode == "mean_sqrt_len_tokens":
        n = jnp.sqrt(n)
    if mode in ("mean", "mean_sqrt_len_tokens", "weightedmean"):
        x = x / jnp.maximum(n, 1e-9)
    if mode == "max":
        x = _where(count > 0, x, 0.0)
    x = jnp.where(plgpu.broadcasted_iota(jnp.int32, x.shape, 0, layout=_strided(x.shape[0])) < dims, x, 0.0)
    length = jnp.maximum(jnp.sqrt(jnp.sum(x * x)), 1e-12)
    return x / jnp.where(normalized == 1, length, 1.0)


def _where(fact, x, other):
    """A choice for the whole row at once: the compiler wants it written out for every element."""
    return jnp.where(jax.lax.broadcast_in_dim(fact, x.shape, []), x, other)


def _load(row):
    return plgpu.load(row, layout=_strided(row.shape[0]), optimized=False)


def _strided(d):
    """Neighboring threads hold neighboring pieces of a row, each as long as one load can be."""
    piece = next(n for n in (8, 4, 2, 1) if d % (THREADS * n) == 0)
    return plgpu.Layout.WG_STRIDED((d,), vec_size=piece)
