"""Late interaction for TPUs: the kernel of lexical weights, with the tokens of all queries for words."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.choice import Choice
from jaxembed.kernels_pallas.lexical.mosaic_tpu import mosaic_tpu as lexical


def mosaic_tpu(
    queries: Float[Array, "q i d"],
    documents: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    choice: Choice,
) -> Float[Array, "q s"]:
    """Computes `maxsim`; the second tile divides t."""
    q, i, d = queries.shape
    tiles = Choice("mosaic_tpu", (choice.tiles[1], 512), choice.reason)
    best = lexical(documents, queries.reshape(q * i, d), jnp.zeros(q * i), starts, lengths, choice=tiles)
    return best.reshape(-1, q, i).sum(2).T
