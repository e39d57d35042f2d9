"""Which keys each token may see, as one interval a token: the only form a mask takes in this project.

In a packed row the keys that a token may see are contiguous (its text, cut by a window, cut by causality), and the
intersection of two intervals is an interval, so two vectors say what others say with mask arrays and segment ids.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Spans:
    """Token i sees keys `start[i] <= j < stop[i]`; an empty interval marks padding, whose output is zero.

    Positions count tokens from the beginning of the row.
    """

    start: Int[Array, " t"]
    stop: Int[Array, " t"]

    def within(self, left: int, right: int) -> "Spans":
        """Narrows every span to at most `left` tokens before and `right` tokens after the token itself.

        A sliding window of 128 is `within(64, 64)`; a causal mask is `within(t, 0)`.
        """
        place = jnp.arange(self.start.shape[0], dtype=self.start.dtype)
        start = jnp.maximum(self.start, place - left)
        stop = jnp.minimum(self.stop, place + right + 1)
        return Spans(start, jnp.maximum(start, stop))

    def tiles(self, block_q: int, block_k: int) -> tuple[Int[Array, " q"], Int[Array, " q"]]:
        """Returns, for each tile of `block_q` queries, the first key tile to visit and the one after the last.

        A tile of nothing but padding gives an empty range. `t` must be a multiple of `block_q`.
        """
        t = self.start.shape[0]
        start, stop = self.start.reshape(-1, block_q), self.stop.reshape(-1, block_q)
        empty = start >= stop
        first = jnp.where(empty, t, start).min(1) // block_k
        last = -(-jnp.where(empty, 0, stop).max(1) // block_k)
        return jnp.minimum(first, last), last
