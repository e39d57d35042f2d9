"""What pooling means, one text at a time: the row masked down to the tokens that count. Memory grows with s · t · d."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Tiles, nothing
from jaxembed.kernels_pallas.pool.parts import Dense, behind


def reference(
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
    """States `pool` for every other back end to be compared with."""
    hidden = hidden.astype(jnp.float32)
    place = jnp.arange(hidden.shape[0])

    def one(start: Array, length: Array, skip: Array) -> Array:
        first, end = start + skip, start + length
        n = jnp.maximum(length - skip, 0)
        counts = ((place >= first) & (place < end))[:, None]
        weights = counts * (place - start + 1)[:, None]
        results = {
            "cls": jnp.where(place == jnp.where(n > 0, first, start), hidden.T, 0).sum(1),
            "lasttoken": jnp.where((place == end - 1) & (n > 0), hidden.T, 0).sum(1),
            "max": jnp.where(n > 0, jnp.where(counts, hidden, -jnp.inf).max(0), 0),
            "mean": jnp.where(counts, hidden, 0).sum(0) / jnp.maximum(n, 1e-9),
            "mean_sqrt_len_tokens": jnp.where(counts, hidden, 0).sum(0) / jnp.maximum(jnp.sqrt(n), 1e-9),
            "weightedmean": jnp.where(counts, hidden * weights, 0).sum(0) / jnp.maximum(weights.sum(), 1e-9),
        }
        return jnp.concatenate([results[mode] for mode in modes])

    return behind(jax.vmap(one)(starts, lengths, skip), dims, normalize, dense)


REFERENCE = Backend("reference", None, reference, unmet=nothing)
