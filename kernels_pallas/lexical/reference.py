"""What lexical weights mean: every logit of the row, then the maximum over each text. Memory grows with s · t · v."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Tiles, nothing


def reference(
    hidden: Float[Array, "t d"],
    vocabulary: Float[Array, "v d"],
    bias: Float[Array, " v"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    tiles: Tiles,
) -> Float[Array, "s v"]:
    """States `lexical` for every other back end to be compared with."""
    wide = (x.astype(jnp.float32) for x in (hidden, vocabulary))
    logits = jnp.einsum("td,vd->tv", *wide, precision="highest") + bias.astype(jnp.float32)
    place = jnp.arange(hidden.shape[0])
    inside = (place >= starts[:, None]) & (place < (starts + lengths)[:, None])
    return jnp.where(inside[:, :, None], logits, -jnp.inf).max(1)


REFERENCE = Backend("reference", None, reference, unmet=nothing)
