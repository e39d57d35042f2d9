"""Lexical weights in plain XLA: the vocabulary in chunks, each reduced to its maxima before the next is touched."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Tiles, nothing


def xla(
    hidden: Float[Array, "t d"],
    vocabulary: Float[Array, "v d"],
    bias: Float[Array, " v"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    tiles: Tiles,
) -> Float[Array, "s v"]:
    """Computes `lexical` with [t, words] numbers in memory, words being the second tile."""
    (t, _), v, s = hidden.shape, vocabulary.shape[0], starts.shape[0]
    words = min(tiles[1], v)
    # Products of bfloat16 are exact in float32 sums; those of float32 must not be rounded to bfloat16 first.
    exact = jax.lax.Precision.HIGHEST if hidden.dtype == jnp.float32 else None
    place = jnp.arange(t, dtype=jnp.int32)
    text = jnp.searchsorted(starts, place, side="right", method="compare_all").astype(jnp.int32) - 1
    text = jnp.where((text >= 0) & (place < (starts + lengths)[text]), text, s)

    def chunk(i: Array, out: Array) -> Array:
        # The last chunk ends with the vocabulary, so it may repeat a part of the one before: the same numbers twice.
        begin = jnp.minimum(i * words, v - words)
        part = jax.lax.dynamic_slice_in_dim(vocabulary, begin, words)
        logits = jnp.einsum("td,vd->tv", hidden, part, precision=exact, preferred_element_type=jnp.float32)
        highest = jax.ops.segment_max(logits, text, num_segments=s + 1)[:-1]
        return jax.lax.dynamic_update_slice_in_dim(out, highest, begin, axis=1)

    out: Array = jax.lax.fori_loop(0, -(-v // words), chunk, jnp.full((s, v), -jnp.inf, jnp.float32))
    return out + bias.astype(jnp.float32)


XLA = Backend("xla", None, xla, unmet=nothing, tiles=(1, 2048))
