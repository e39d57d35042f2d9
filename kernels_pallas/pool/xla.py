"""Pooling in plain XLA, for every device: sums over texts as one product with a matrix of zeros and ones."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Tiles, nothing
from jaxembed.kernels_pallas.pool.parts import Dense, behind


def xla(
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
    """Computes `pool`."""
    first, end = starts + skip, starts + lengths
    place = jnp.arange(hidden.shape[0], dtype=jnp.int32)
    counts = (place >= first[:, None]) & (place < end[:, None])  # [s, t]: which tokens count for which text
    total = jnp.maximum(lengths - skip, 0).astype(jnp.float32)[:, None]
    pooled = [_one(mode, hidden, counts, total, starts, first, end) for mode in modes]
    return behind(jnp.concatenate(pooled, axis=-1), dims, normalize, dense)


XLA = Backend("xla", None, xla, unmet=nothing)


def _one(mode: str, hidden: Array, counts: Array, total: Array, starts: Array, first: Array, end: Array) -> Array:
    texts = starts.shape[0]
    if mode == "cls":
        return hidden.at[jnp.where(total[:, 0] > 0, first, starts)].get(mode="clip").astype(jnp.float32)
    if mode == "lasttoken":
        return jnp.where(total > 0, hidden.at[end - 1].get(mode="clip").astype(jnp.float32), 0)
    if mode == "max":
        text = jnp.where(counts.any(0), counts.argmax(0), texts)
        highest = jax.ops.segment_max(hidden.astype(jnp.float32), text, num_segments=texts + 1)[:-1]
        return jnp.where(total > 0, highest, 0)
    weights = counts.astype(jnp.float32)
    if mode == "weightedmean":
        weights *= jnp.arange(1, hidden.shape[0] + 1, dtype=jnp.int32) - starts[:, None]
    # A matmul, not a scatter: exact zeros keep the texts apart, and every device is good at it. Zeros and ones are exact in
    # bfloat16 too, and then the product is one pass; anything else must not be rounded to it.
    if mode != "weightedmean" and hidden.dtype == jnp.bfloat16:
        summed = jnp.matmul(counts.astype(jnp.bfloat16), hidden, preferred_element_type=jnp.float32)
    else:
        summed = jnp.matmul(weights, hidden.astype(jnp.float32), precision="highest")
    divisor = {
        "mean": total,
        "mean_sqrt_len_tokens": jnp.sqrt(total),
        "weightedmean": weights.sum(1, keepdims=True),
    }[mode]
    return summed / jnp.maximum(divisor, 1e-9)
