"""What late interaction means: every product of query and document tokens. Memory grows with q · i · s · t."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Tiles, nothing


def reference(
    queries: Float[Array, "q i d"],
    documents: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    tiles: Tiles,
) -> Float[Array, "q s"]:
    """States `maxsim` for every other back end to be compared with."""
    wide = (x.astype(jnp.float32) for x in (queries, documents))
    scores = jnp.einsum("qid,td->qit", *wide, precision="highest")
    place = jnp.arange(documents.shape[0])
    inside = (place >= starts[:, None]) & (place < (starts + lengths)[:, None])
    best = jnp.where(inside, scores[:, :, None], -jnp.inf).max(-1)
    return jnp.where(lengths > 0, best.sum(1), -jnp.inf)


REFERENCE = Backend("reference", None, reference, unmet=nothing)
