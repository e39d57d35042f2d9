"""What attention means, in the fewest lines: a dense mask and float32 throughout. Memory grows with t²."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxembed.kernels_pallas.backend import Backend, Tiles, nothing
from jaxembed.kernels_pallas.bias import Alibi, RelativeBias
from jaxembed.kernels_pallas.spans import Spans


def reference(
    q: Float[Array, "t n h"],
    k: Float[Array, "t k h"],
    v: Float[Array, "t k h"],
    spans: Spans,
    *,
    scale: float,
    longest: int,
    tiles: Tiles,
    softcap: float | None,
    bias: Alibi | RelativeBias | None,
) -> Float[Array, "t n h"]:
    """States `attention` for every other back end to be compared with."""
    share = q.shape[1] // k.shape[1]
    keys, values = (jnp.repeat(x.astype(jnp.float32), share, axis=1) for x in (k, v))
    scores = scale * jnp.einsum("inh,jnh->nij", q.astype(jnp.float32), keys, precision="highest")
    if softcap is not None:
        scores = softcap * jnp.tanh(scores / softcap)
    place = jnp.arange(q.shape[0])
    if bias is not None:
        scores += bias.at(place - place[:, None])
    seen = (place >= spans.start[:, None]) & (place < spans.stop[:, None])
    weights = jax.nn.softmax(scores, axis=-1, where=seen)
    weights = jnp.where(seen, weights, 0)  # an empty span divides 0 by 0
    return jnp.einsum("nij,jnh->inh", weights, values, precision="highest").astype(q.dtype)


REFERENCE = Backend("reference", None, reference, unmet=nothing)
