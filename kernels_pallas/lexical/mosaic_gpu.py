"""Lexical weights for Hopper: a block keeps 128 words while all tokens pass, folding each tile of logits in registers.

Words lie down and tokens across, so that a text's maximum is one along the row. A text that goes on in the next tile is carried
in registers; no logit is ever written.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.backend import HALVES, Backend, Tiles, misses
from jaxembed.kernels_pallas.shapes import LexicalShape

WARPGROUPS = 2
WORDS = 64  # of one warpgroup: the height of a wgmma
DEPTH = 64  # of one step along the width: a row of 128 bytes
STAGES = 4


def mosaic_gpu(
    hidden: Float[Array, "t d"],
    vocabulary: Float[Array, "v d"],
    bias: Float[Array, " v"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    tiles: Tiles,
) -> Float[Array, "s v"]:
    """Computes `lexical` for bfloat16 or float16; the tile of tokens divides t, the last tile of words may stick out."""
    (t, d), v, s = hidden.shape, vocabulary.shape[0], starts.shape[0]
    tokens, words = tiles
    assert words == WARPGROUPS * WORDS
    ends = starts + lengths
    edge = jnp.arange(0, t, tokens, dtype=jnp.int32)[:, None]
    used = lengths > 0
    low = (used & (ends <= edge)).sum(1, dtype=jnp.int32)
    high = (used & (starts < edge + tokens)).sum(1, dtype=jnp.int32)
    blocks = pl.cdiv(v, words)
    swizzled = (plgpu.TilingTransform((8, DEPTH)), plgpu.SwizzleTransform(128))
    kernel = plgpu.kernel(
        partial(_kernel, tokens=tokens, steps=d // DEPTH),
        out_type=jax.ShapeDtypeStruct((s, blocks * words), jnp.float32),
        grid=(blocks,),
        grid_names=("block",),
        num_threads=WARPGROUPS + 1,
        thread_name="warpgroup",
        scratch_types=(
            plgpu.SMEM((STAGES, words, DEPTH), vocabulary.dtype, transforms=swizzled),
            plgpu.SMEM((STAGES, tokens, DEPTH), hidden.dtype, transforms=swizzled),
            plgpu.Barrier(num_arrivals=2, num_barriers=STAGES),
            plgpu.Barrier(num_arrivals=WARPGROUPS, num_barriers=STAGES),
        ),
        compiler_params=plgpu.CompilerParams(
            lowering_semantics=plgpu.LoweringSemantics.Warpgroup, reduction_scratch_bytes=6144
        ),
        kernel_name="packed_lexical",
    )
    # The copy engine takes rows by eights. A vocabulary that has others left is copied, a twentieth of the work.
    vocabulary = jnp.pad(vocabulary, ((0, -v % 8), (0, 0)))
    out = kernel(hidden, vocabulary, starts, ends, low, high)[:, :v] + bias.astype(jnp.float32)
    return jnp.where(used[:, None], out, -jnp.inf)


def unmet(shape: LexicalShape, tiles: Tiles) -> list[str]:
    """What is missing before the kernel can serve `shape` with `tiles` of tokens and words."""
    tokens, _ = tiles
    return misses(
        (shape.t % tokens == 0, f"a row of {shape.t} tokens is not a whole number of tiles of {tokens}"),
        (shape.width % 128 == 0, f"width {shape.width} is not a multiple of 128"),
        (shape.dtype in HALVES, f"{shape.dtype} is not one of {' and '.join(HALVES)}"),
    )


MOSAIC_GPU = Backend("mosaic_gpu", "gpu", mosaic_gpu, unmet)


def _kernel(hidden, vocabulary, starts, ends, low, high, out, words, states, full, free, *, tokens, steps):
    block, me = jax.lax.axis_index("block"), jax.lax.axis_index("warpgroup")
    tiles = hidden.shape[0] // tokens
    mine = pl.ds(block * WARPGROUPS * WORDS + me * WORDS, WORDS)

    @pl.when(me == WARPGROUPS)
    def _():
        plgpu.set_max_registers(40, action="decrease")

        @pl.loop(0, tiles * steps)
        def _(step):
            slot, depth = jax.lax.rem(step, STAGES), pl.ds(jax.lax.rem(step, steps) * DEPTH, DEPTH)

            @pl.when(step >= STAGES)
            def _():
                plgpu.barrier_wait(free.at[slot])

            rows = pl.ds(block * WARPGROUPS * WORDS, WARPGROUPS * WORDS)
            plgpu.copy_gmem_to_smem(vocabulary.at[rows, depth], words.at[slot], full.at[slot])
            columns = pl.ds(jax.lax.div(step, steps) * tokens, tokens)
            plgpu.copy_gmem_to_smem(hidden.at[columns, depth], states.at[slot], full.at[slot])

        # Every arrival is awaited, so that no barrier is left half counted.
        @pl.loop(max(tiles * steps - STAGES, 0), tiles * steps)
        def _(step):
            plgpu.barrier_wait(free.at[jax.lax.rem(step, STAGES)])

    @pl.when(me < WARPGROUPS)
    def _():
        plgpu.set_max_registers(232, action="increase")

        def tile(index, going_on):
            logits = pl.run_scoped(partial(product, index), plgpu.ACC((WORDS, tokens), jnp.float32))
            place = plgpu.broadcasted_iota(jnp.int32, logits.shape, 1, layout=plgpu.Layout.WGMMA) + index * tokens

            def text(i, going_on):
                first, end = starts[i], ends[i]
                highest = jnp.where((place >= first) & (place < end), logits, -jnp.inf).max(axis=1)
                before = jax.lax.broadcast_in_dim(first < index * tokens, highest.shape, [])
                highest = jnp.maximum(highest, jnp.where(before, going_on, -jnp.inf))
                out[i, mine] = highest
                return highest

            return jax.lax.fori_loop(low[index], high[index], text, going_on)

        def product(index, sums):
            @pl.loop(0, steps)
            def _(depth):
                step = index * steps + depth
                slot = jax.lax.rem(step, STAGES)
                plgpu.barrier_wait(full.at[slot])
                plgpu.wgmma(sums, words.at[slot, pl.ds(me * WORDS, WORDS)], states.at[slot].T)
                # One product may be under way; the one before it is done, and its operands are free.
                plgpu.wgmma_wait(1)

                @pl.when(depth > 0)
                def _():
                    plgpu.barrier_arrive(free.at[jax.lax.rem(step - 1, STAGES)])

            logits = sums[...]
            plgpu.barrier_arrive(free.at[jax.lax.rem(index * steps + steps - 1, STAGES)])
            return logits

        nothing = plgpu.layout_cast(jnp.full((WORDS,), -jnp.inf, jnp.float32), plgpu.Layout.WGMMA.reduce(1))
        jax.lax.fori_loop(0, tiles, tile, nothing)
