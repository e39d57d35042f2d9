"""Late interaction for Hopper: a block takes one document and one query, and reads the document once.

The query's tokens lie down, the document's across, so that the best match is a maximum along the row, kept in registers.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.backend import HALVES, SHARED_MEMORY, Backend, Tiles, misses
from jaxembed.kernels_pallas.shapes import MaxsimShape

ROWS = 64  # query tokens of one product: the height of a wgmma
STAGES = 3


def mosaic_gpu(
    queries: Float[Array, "q i d"],
    documents: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    tiles: Tiles,
) -> Float[Array, "q s"]:
    """Computes `maxsim` for bfloat16 or float16; queries are filled up to a multiple of 64 tokens with zeros."""
    q, i, d = queries.shape
    s, tokens = starts.shape[0], tiles[1]
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


def unmet(shape: MaxsimShape, tiles: Tiles) -> list[str]:
    """What is missing before the kernel can serve `shape` with `tiles` of query tokens and document tokens."""
    _, tokens = tiles
    held = 2 * shape.width * (-(-shape.query_tokens // ROWS) * ROWS + STAGES * tokens) + 4096
    return misses(
        (shape.t % tokens == 0, f"a row of {shape.t} tokens is not a whole number of tiles of {tokens}"),
        (shape.width % 64 == 0 and shape.width <= 256, f"width {shape.width} is not a multiple of 64 up to 256"),
        (shape.query_tokens <= 256, f"{shape.query_tokens} query tokens do not fit into registers"),
        (held <= SHARED_MEMORY, f"{held >> 10} KiB of shared memory are more than the 227 of a block"),
        (shape.dtype in HALVES, f"{shape.dtype} is not one of the types that the tensor cores take exactly"),
    )


MOSAIC_GPU = Backend("mosaic_gpu", "gpu", mosaic_gpu, unmet)


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
        out[me, text, pl.ds(part * ROWS, ROWS)] = one
