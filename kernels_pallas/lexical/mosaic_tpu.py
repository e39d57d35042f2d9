"""Lexical weights for TPUs: a tile of logits is folded into its texts' maxima while the next one is multiplied.

The maxima of a tile of words stay in vector memory while all token tiles pass. A text takes from a tile only the groups of 8
rows that it lies in, so folding costs about as much as one look at the tile.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.backend import VECTOR_MEMORY, Backend, Tiles, misses
from jaxembed.kernels_pallas.shapes import LexicalShape

ROWS = 8  # of a register


def mosaic_tpu(
    hidden: Float[Array, "t d"],
    vocabulary: Float[Array, "v d"],
    bias: Float[Array, " v"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    tiles: Tiles,
) -> Float[Array, "s v"]:
    """Computes `lexical`; the tile of tokens divides t, the last tile of words may stick out."""
    (t, d), v, s = hidden.shape, vocabulary.shape[0], starts.shape[0]
    tokens, words = tiles
    words = min(words, -(-v // 128) * 128)
    ends = starts + lengths
    edge = jnp.arange(0, t, tokens, dtype=jnp.int32)[:, None]
    # The texts that a tile of tokens meets: all but those that end before it and those that begin behind it.
    used = lengths > 0
    low = (used & (ends <= edge)).sum(1, dtype=jnp.int32)
    high = (used & (starts < edge + tokens)).sum(1, dtype=jnp.int32)
    return pl.pallas_call(
        _kernel,
        out_shape=jax.ShapeDtypeStruct((s, v), jnp.float32),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=4,
            grid=(pl.cdiv(v, words), t // tokens),
            in_specs=[
                pl.BlockSpec((tokens, d), lambda word, token, *_: (token, 0)),
                pl.BlockSpec((words, d), lambda word, token, *_: (word, 0)),
                pl.BlockSpec((1, words), lambda word, token, *_: (0, word)),
            ],
            out_specs=pl.BlockSpec((s, words), lambda word, token, *_: (0, word)),
            scratch_shapes=[pltpu.VMEM((tokens, words), jnp.float32)],
        ),
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=_memory(s, d, tokens, words, hidden.dtype.itemsize)
        ),
        name="packed_lexical",
    )(low, high, starts, ends, hidden, vocabulary, bias.astype(jnp.float32)[None])


def unmet(shape: LexicalShape, tiles: Tiles) -> list[str]:
    """What is missing before the kernel can serve `shape` with `tiles` of tokens and words."""
    tokens, words = tiles
    blocks = 2 * (tokens + words) * shape.width * jnp.dtype(shape.dtype).itemsize
    held = blocks + (2 * shape.texts + 3 * tokens) * words * 4
    return misses(
        (shape.t % tokens == 0, f"a row of {shape.t} tokens is not a whole number of tiles of {tokens}"),
        (shape.width % 128 == 0, f"width {shape.width} is not a multiple of 128"),
        (shape.dtype in ("bfloat16", "float32"), f"{shape.dtype} is not one of bfloat16 and float32"),
        (held <= VECTOR_MEMORY, f"{held >> 20} MiB of vector memory are needed"),
    )


MOSAIC_TPU = Backend("mosaic_tpu", "tpu", mosaic_tpu, unmet)


def _kernel(low, high, starts, ends, hidden, vocabulary, bias, out, logits):
    token = pl.program_id(1)
    tokens, words = logits.shape
    begin = token * tokens

    @pl.when(token == 0)
    def _():
        out[...] = jnp.full(out.shape, -jnp.inf, jnp.float32)

    logits[...] = bias[...] + jax.lax.dot_general(
        hidden[...],
        vocabulary[...],
        (((1,), (1,)), ((), ())),
        precision=jax.lax.Precision.HIGHEST if hidden.dtype == jnp.float32 else None,
        preferred_element_type=jnp.float32,
    )

    def text(i, _):
        first, end = jnp.maximum(starts[i] - begin, 0), jnp.minimum(ends[i] - begin, tokens)

        def group(g, highest):
            rows = logits[pl.ds(pl.multiple_of(g * ROWS, ROWS), ROWS), :]
            place = g * ROWS + jax.lax.broadcasted_iota(jnp.int32, (ROWS, words), 0)
            return jnp.maximum(highest, jnp.where((place >= first) & (place < end), rows, -jnp.inf))

        nothing = jnp.full((ROWS, words), -jnp.inf, jnp.float32)
        highest = jax.lax.fori_loop(first // ROWS, pl.cdiv(end, ROWS), group, nothing).max(0, keepdims=True)
        out[pl.ds(i, 1), :] = jnp.maximum(out[pl.ds(i, 1), :], highest)
        return 0

    jax.lax.fori_loop(low[token], high[token], text, 0)


def _memory(texts: int, width: int, tokens: int, words: int, itemsize: int) -> int:
    """Bytes of vector memory: two buffers of every block, the logits, and room for the compiler."""
    return 2 * (tokens + words) * width * itemsize + (2 * texts + 3 * tokens) * words * 4 + (8 << 20)
