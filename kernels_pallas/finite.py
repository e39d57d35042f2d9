"""What is not finite is set aside before a product whose zeros keep texts apart (0 · NaN is NaN), and comes back behind it.

Texts of one row belong to different callers. One whose states overflow, or whose words have a spoiled row in the table, gets
NaN; its neighbors get what they would have got beside any other text, to the bit.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def apart(k: Float[Array, "*t h"], v: Float[Array, "*t h"]) -> tuple[Float[Array, "*t h"], Float[Array, "*t h"]]:
    """Returns keys and values whose values are all finite: one that is not becomes 0, and the same number of its key NaN.

    Whoever sees that key then has a score, and so a softmax, of NaN; to all others its score is masked, which means chosen
    against and not multiplied, and its weight is an exact 0. Nothing is reduced or carried, so it costs one pass over k and v
    that joins whatever makes them.
    """
    finite = jnp.isfinite(v)
    return jnp.where(finite, k, jnp.nan), jnp.where(finite, v, 0)


def set_aside(x: Float[Array, "*t d"]) -> tuple[Float[Array, "*t d"], Bool[Array, "*t"]]:
    """Returns x with 0 for what is not finite, and which of its tokens had such numbers."""
    finite = jnp.isfinite(x)
    return jnp.where(finite, x, 0), ~finite.all(-1)


def any_between(marked: Bool[Array, " t"], low: Int[Array, " s"], high: Int[Array, " s"]) -> Bool[Array, " s"]:
    """Returns for each pair whether one of the tokens low <= i < high is marked; a pair may lie behind the row, or be empty."""
    before = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(marked, dtype=jnp.int32)])
    low, high = (jnp.clip(x, 0, marked.shape[0]) for x in (low, high))
    return before[high] > before[low]
