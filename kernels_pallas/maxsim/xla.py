"""Late interaction in plain XLA: the maxima are lexical weights with the query's tokens for words, one query at a time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Tiles, nothing
from jaxembed.kernels_pallas.lexical.xla import xla as lexical


def xla(
    queries: Float[Array, "q i d"],
    documents: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    tiles: Tiles,
) -> Float[Array, "q s"]:
    """Computes `maxsim` with [i, t] numbers in memory."""

    def one(query: Array) -> Array:
        words = query.shape[0]
        return lexical(documents, query, jnp.zeros(words), starts, lengths, tiles=(1, words)).sum(1)

    scores: Array = jax.lax.map(one, queries)
    return scores


XLA = Backend("xla", None, xla, unmet=nothing)
