"""Late interaction in plain XLA: the maxima are lexical weights with the query's tokens for words, one query at a time."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.choice import Choice
from jaxembed.kernels_pallas.lexical.xla import xla as lexical


def xla(
    queries: Float[Array, "q i d"],
    documents: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    choice: Choice,
) -> Float[Array, "q s"]:
    """Computes `maxsim` with [i, t] numbers in memory."""
    whole = Choice("xla", (1, queries.shape[1]), choice.reason)

    def one(query: Array) -> Array:
        return lexical(documents, query, jnp.zeros(query.shape[0]), starts, lengths, choice=whole).sum(1)

    scores: Array = jax.lax.map(one, queries)
    return scores
