"""Static embeddings: no transformer at all. A token's vector is its row of a table, whatever stands beside it.

What sentence-transformers calls `StaticEmbedding` and model2vec distils; the mean over a text is left to pooling.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxembed.layers.run import Run
from jaxembed.models.backbone import BackboneConfig
from jaxembed.packing.packed import Packed

# Nothing ends here but a row of the engine: the definition has no longest text.
LONGEST = 32768


@dataclass(frozen=True, kw_only=True)
class StaticConfig(BackboneConfig):
    """The sizes of the table; weighted: whether each token has a weight beside its row."""

    weighted: bool
    longest: int = LONGEST


class Static(nnx.Module):
    """The table, and a weight for each of its rows where there is one."""

    def __init__(self, config: StaticConfig) -> None:
        self.words = nnx.Param(jnp.zeros((config.vocabulary, config.width)))
        self.weights = nnx.Param(jnp.zeros(config.vocabulary)) if config.weighted else None

    def __call__(self, packed: Packed, run: Run) -> Float[Array, "t d"]:
        """Returns the vector of every token."""
        x = self.words[...][packed.tokens]
        return x if self.weights is None else x * self.weights[...][packed.tokens][:, None]
