"""Late interaction for Hopper: a block takes one document and one query, and reads the document once.

The query's tokens lie down, the document's across, so that the best match is a maximum along the row, kept in registers.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.choice import Choice

ROWS = 64  # query tokens of one product: the height of a wgmma
STAGES = 3


def mosaic_gpu(
    queries: Float[Array, "q i d"],
    documents: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    choice: Choice,
) -> Float[Array, "q s"]:
    """Computes `maxsim` for bfloat16 or float16; queries are filled up to a multiple of 64 tokens with zeros."""
    q, i, d = queries.shape
    s, tokens = starts.shape[0], choice.tiles[1]
    rows = pl.cdiv(i, ROWS) * ROWS
    filled = jnp.pad(queries, ((0, 0), (0, rows - i), (0, 0)))
    swizzled = (plgpu.TilingTransform((8, 64)), plgpu.SwizzleTransform(128))
    kernel = plgpu.kernel(
        partial(_kernel, tokens=tokens, rows=rows),
        out_type=jax.ShapeDtypeStruct((q, s, rows), jnp.float32),
        grid=(s, q),
        grid_names=("text", "query"),
        num_threads=1,
        thread_name="warpgroup",
        scratch_types=(
            plgpu.SMEM((rows, d), queries.dtype, transforms=swizzled),
            plgpu.SMEM((STAGES, tokens, d), documents.dtype, transforms=swizzled),
            plgpu.Barrier(),
            plgpu.Barrier(num_barriers=STAGES),
        ),
        compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        kernel_name="packed_maxsim",
    )
    best = kernel(filled, documents, starts, lengths)
    return jnp.where(lengths > 0, best.sum(2), -jnp.inf)


def _kernel(queries, documents, starts, lengths, out, query, pieces, arrived, full, *, tokens, rows):
    text, me = jax.lax.axis_index("text"), jax.lax.axis_index("query")
    start, length = starts[text], lengths[text]
    # The copy engine takes rows by eights, so the first piece may begin in the document before.
    begin = jax.lax.div(start, 8)
    steps = jax.lax.div(start + length - begin * 8 + tokens - 1, tokens)

    def fetch(step):
        @pl.when(step < steps)
        def _():
            slot = jax.lax.rem(step, STAGES)
            # The last piece may reach into the next document, or behind the row, where it reads as zeros; both are masked.
            piece = pl.ds((begin + step * (tokens // 8)) * 8, tokens)
            plgpu.copy_gmem_to_smem(documents.at[piece], pieces.at[slot], full.at[slot])

    plgpu.copy_gmem_to_smem(queries.at[me], query, arrived)
    for ahead in range(STAGES - 1):
        fetch(jnp.int32(ahead))
    plgpu.barrier_wait(arrived)

    def step(index, best):
        slot = jax.lax.rem(index, STAGES)
        plgpu.barrier_wait(full.at[slot])
        fetch(index + STAGES - 1)
        return tuple(jnp.maximum(one, match(index, slot, part)) for part, one in enumerate(best))

    def match(index, slot, part):
        def product(sums):
            plgpu.wgmma(sums, query.at[pl.ds(part * ROWS, ROWS)], pieces.at[slot].T)
            return sums[...]

        scores = pl.run_scoped(product, plgpu.ACC((ROWS, tokens), jnp.float32))
        place = plgpu.broadcasted_iota(jnp.int32, scores.shape, 1, layout=plgpu.Layout.WGMMA) + (begin * 8 + index * tokens)
        return jnp.where((place >= start) & (place < start + length), scores, -jnp.inf).max(axis=1)

    nothing = plgpu.layout_cast(jnp.full((ROWS,), -jnp.inf, jnp.float32), plgpu.Layout.WGMMA.reduce(1))
    best = jax.lax.fori_loop(0, steps, step, (nothing,) * (rows // ROWS))
    for part, one in enumerate(best):
        plgpu.store(out.at[me, text, pl.ds(part * ROWS, ROWS)], one, optimized=False)
