"""What attention may add to a score for how far apart query and key are: never an array of t² numbers, only its rule.

Both kinds depend on the distance alone, so a tile of scores at a known place needs one diagonal pattern, which a back end
makes for the tile and throws away.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Alibi:
    """Takes `slopes[head] · |j - i|` from the scaled score of query i and key j (Press et al., arXiv 2108.12409, both ways)."""

    slopes: Float[Array, " n"]

    def at(self, distance: Int[Array, "..."]) -> Float[Array, "n ..."]:
        """Returns what every head adds at each `distance` = j - i, float32."""
        far = jnp.abs(distance).astype(jnp.float32)
        return -self.slopes.astype(jnp.float32).reshape(-1, *[1] * distance.ndim) * far


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RelativeBias:
    """Adds `table[head, clip(j - i, -R, R) + R]` to the scaled score of query i and key j, r = 2R + 1.

    Any bias by distance that is constant beyond R: the buckets of T5 and MPNet are written out into such a table.
    """

    table: Float[Array, "n r"]

    @property
    def reach(self) -> int:
        """The distance R beyond which nothing changes."""
        return (self.table.shape[1] - 1) // 2

    def at(self, distance: Int[Array, "..."]) -> Float[Array, "n ..."]:
        """Returns what every head adds at each `distance` = j - i, float32."""
        return self.table.astype(jnp.float32)[:, jnp.clip(distance, -self.reach, self.reach) + self.reach]


Bias = Alibi | RelativeBias
