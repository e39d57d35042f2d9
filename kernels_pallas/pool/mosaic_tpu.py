"""Pooling for TPUs: a tile of texts meets only the token tiles that its texts lie in, and leaves finished.

Texts lie in order, so the tiles of texts and of tokens advance together. XLA lists the meetings, at most t / tokens + s / texts
of them; the kernel goes through the list. A tile's vectors stay in fast memory until its last meeting, which also applies the
dense head, the matryoshka mask and the normalization.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Bool, Float, Int

from jaxembed.kernels_pallas.backend import VECTOR_MEMORY, Backend, Tiles, misses
from jaxembed.kernels_pallas.pool.parts import ACTIVATIONS, Dense, unmet_by_any_kernel
from jaxembed.kernels_pallas.shapes import PoolShape

# What the kernel knows of a text, one column each.
START, FIRST, END, DIMS, NORMALIZE = range(5)


def mosaic_tpu(
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
    """Computes `pool` in one mode; the tile of texts divides s, the tile of tokens t."""
    (t, d), s = hidden.shape, starts.shape[0]
    (mode,) = modes
    texts, tokens = tiles
    outputs = d if dense is None else dense.w.shape[1]
    known = jnp.stack(
        [
            starts,
            starts + skip,
            starts + lengths,
            jnp.full_like(starts, outputs) if dims is None else dims,
            jnp.zeros_like(starts) if normalize is None else normalize.astype(jnp.int32),
        ],
        axis=1,
    )
    weights = () if dense is None else (dense.w, jnp.zeros(outputs) if dense.b is None else dense.b)
    meetings = _meetings(starts, lengths, t, texts, tokens)
    return pl.pallas_call(
        partial(_kernel, mode=mode, activation=None if dense is None else dense.activation),
        out_shape=jax.ShapeDtypeStruct((s, outputs), jnp.float32),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=5,
            grid=(t // tokens + s // texts,),
            in_specs=[
                pl.BlockSpec((texts, known.shape[1]), lambda i, text, *_: (text[i], 0)),
                pl.BlockSpec((tokens, d), lambda i, text, token, *_: (token[i], 0)),
                *(pl.BlockSpec(w.shape if w.ndim == 2 else (1, outputs), lambda i, *_: (0, 0)) for w in weights),
            ],
            out_specs=pl.BlockSpec((texts, outputs), lambda i, text, *_: (text[i], 0)),
            scratch_shapes=[pltpu.VMEM((texts, d), jnp.float32)],
        ),
        compiler_params=pltpu.CompilerParams(dimension_semantics=("arbitrary",), vmem_limit_bytes=64 << 20),
        name="packed_pool",
    )(*meetings, known.T.reshape(-1), known, hidden, *(w if w.ndim == 2 else w[None] for w in weights))


def unmet(shape: PoolShape, tiles: Tiles) -> list[str]:
    """What is missing before the kernel can serve `shape` with `tiles` of texts and tokens."""
    texts, tokens = tiles
    outputs = shape.outputs or 0
    held = 4 * shape.width * (tokens + 2 * texts) * 4 + 2 * outputs * (shape.width + 3 * texts) * 4
    return [
        *unmet_by_any_kernel(shape, tiles),
        *misses(
            (outputs % 128 == 0, f"a dense head of {outputs} outputs is not a multiple of 128"),
            (shape.activation in ACTIVATIONS, f"the dense head's activation is {shape.activation}"),
            (held <= VECTOR_MEMORY, f"{held >> 20} MiB of vector memory are needed"),
        ),
    ]


MOSAIC_TPU = Backend("mosaic_tpu", "tpu", mosaic_tpu, unmet)


def _meetings(starts: Array, lengths: Array, t: int, texts: int, tokens: int) -> tuple[Array, Array, Array, Array]:
    """Returns for each step its tile of texts, its tile of tokens, and whether it is that tile of texts' first or last.

    Steps behind the last meeting repeat it, neither first nor last. A tile of texts without tokens meets one tile, in vain.
    """
    end = jnp.where(lengths > 0, starts + lengths, 0).reshape(-1, texts).max(1)
    low = jnp.minimum(starts.reshape(-1, texts)[:, 0], t - 1) // tokens
    high = jnp.maximum(-(-end // tokens), low + 1)
    behind = jnp.cumsum(high - low)
    step = jnp.arange(t // tokens + starts.shape[0] // texts, dtype=jnp.int32)
    real = step < behind[-1]
    text = jnp.searchsorted(behind, jnp.minimum(step, behind[-1] - 1), side="right", method="compare_all").astype(jnp.int32)
    token = (high[text] - (behind[text] - jnp.minimum(step, behind[-1] - 1))).astype(jnp.int32)
    first, last = real & (token == low[text]), real & (step == behind[text] - 1)
    return text, token, first.astype(jnp.int32), last.astype(jnp.int32)


def _kernel(text, token, first, last, flat, known, hidden, *rest, mode, activation):
    *weights, out, sums = rest
    step = pl.program_id(0)
    texts, tokens = sums.shape[0], hidden.shape[0]

    @pl.when(first[step] == 1)
    def _() -> None:
        sums[...] = jnp.full(sums.shape, -jnp.inf if mode == "max" else 0.0, jnp.float32)

    # A step behind the last meeting would add its tokens twice.
    @pl.when((first[step] == 1) | (step == 0) | (token[step] != token[jnp.maximum(step - 1, 0)]))
    def _() -> None:
        begin = token[step] * tokens
        if mode == "max":
            _take_highest(sums, hidden, flat, text[step] * texts, begin)
        else:
            _add(sums, hidden, known, begin, mode)

    @pl.when(last[step] == 1)
    def _() -> None:
        out[...] = _finished(sums[...], known, weights, mode, activation)


def _add(sums, hidden, known, begin, mode):
    """Adds what each text takes from this tile of tokens: a product with zeros and ones (or weights)."""
    place = begin + jax.lax.broadcasted_iota(jnp.int32, (sums.shape[0], hidden.shape[0]), 1)
    start, first, end = (known[:, column : column + 1] for column in (START, FIRST, END))
    if mode == "cls":
        counts = place == jnp.where(first < end, first, start)
    elif mode == "lasttoken":
        counts = (place == end - 1) & (first < end)
    else:
        counts = (place >= first) & (place < end)
    if mode == "weightedmean":
        counts = jnp.where(counts, place - start + 1, 0)
    # Zeros and ones are exact in bfloat16, so the product with bfloat16 is one pass; anything else must not be rounded to it.
    exact = hidden.dtype == jnp.bfloat16 and mode != "weightedmean"
    dtype = jnp.bfloat16 if exact else jnp.float32
    sums[...] += jnp.dot(
        counts.astype(jnp.float32).astype(dtype),
        hidden[...].astype(dtype),
        precision=None if exact else jax.lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )


def _take_highest(sums, hidden, flat, text, begin):
    """Raises each text's maximum by the tokens it has in this tile."""
    tokens, d = hidden.shape
    texts = flat.shape[0] // 5

    def one(i, _):
        first, end = flat[FIRST * texts + text + i], flat[END * texts + text + i]

        @pl.when((first < begin + tokens) & (end > begin))
        def _() -> None:
            place = begin + jax.lax.broadcasted_iota(jnp.int32, (tokens, d), 0)
            seen = jnp.where((place >= first) & (place < end), hidden[...].astype(jnp.float32), -jnp.inf)
            sums[pl.ds(i, 1), :] = jnp.maximum(sums[pl.ds(i, 1), :], seen.max(0, keepdims=True))

        return 0

    jax.lax.fori_loop(0, sums.shape[0], one, 0)


def _finished(x, known, weights, mode, activation):
    start, first, end = (known[:, column : column + 1] for column in (START, FIRST, END))
    count = jnp.maximum(end - first, 0).astype(jnp.float32)
    if mode == "max":
        x = jnp.where(count > 0, x, 0)
    elif mode == "mean":
        x = x / jnp.maximum(count, 1e-9)
    elif mode == "mean_sqrt_len_tokens":
        x = x / jnp.maximum(jnp.sqrt(count), 1e-9)
    elif mode == "weightedmean":
        near, far = (first - start).astype(jnp.float32), (end - start).astype(jnp.float32)
        x = x / jnp.maximum((far * (far + 1) - near * (near + 1)) / 2 * (count > 0), 1e-9)
    if weights:
        w, b = weights
        x = jnp.dot(x, w[...].astype(jnp.float32), precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
        x = ACTIVATIONS[activation](x + b[...].astype(jnp.float32))
    x = jnp.where(jax.lax.broadcasted_iota(jnp.int32, x.shape, 1) < known[:, DIMS : DIMS + 1], x, 0)
    length = jnp.maximum(jnp.sqrt((x * x).sum(1, keepdims=True)), 1e-12)
    return jnp.where(known[:, NORMALIZE : NORMALIZE + 1] == 1, x / length, x)
