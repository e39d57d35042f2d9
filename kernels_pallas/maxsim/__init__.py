"""Late interaction: how well each token of a query is met by the best token of a document."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Kernel, Operation
from jaxembed.kernels_pallas.choice import Choice
from jaxembed.kernels_pallas.finite import any_between, set_aside
from jaxembed.kernels_pallas.maxsim.reference import REFERENCE
from jaxembed.kernels_pallas.maxsim.xla import XLA
from jaxembed.kernels_pallas.shapes import MaxsimShape

__all__ = ["MAXSIM", "maxsim"]


def maxsim(
    queries: Float[Array, "q i d"],
    documents: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    choice: Choice,
) -> Float[Array, "q s"]:
    """Returns for each query and document the sum over the query's tokens i of max over the document's tokens j of q_i · d_j.

    Khattab and Zaharia, arXiv 2004.12832, equation 3.

    Args:
        queries: i tokens each; shorter ones end in rows of zeros, which add nothing.
        documents: one behind the other in a row of t tokens.
        starts: where each document begins, in tokens of the row and in its order; unused places have start t.
        lengths: each document's tokens; 0 for unused places.
        choice: the back end that `choose` took for these shapes.

    Returns:
        A score for each query and place, float32; unused places score -inf, and a query or a document with a token that is
        not finite NaN with all that it meets.
    """
    asked, strange = set_aside(queries)
    states, broken = set_aside(documents)
    scores = choice.backend.run(asked, states, starts, lengths, tiles=choice.tiles)
    spoiled = any_between(broken, starts, starts + lengths) | (strange.any(1)[:, None] & (lengths > 0))
    return jnp.where(spoiled, jnp.nan, scores)


def _mosaic_gpu() -> Backend[MaxsimShape]:
    from jaxembed.kernels_pallas.maxsim.mosaic_gpu import MOSAIC_GPU

    return MOSAIC_GPU


def _mosaic_tpu() -> Backend[MaxsimShape]:
    from jaxembed.kernels_pallas.maxsim.mosaic_tpu import MOSAIC_TPU

    return MOSAIC_TPU


MAXSIM = Operation(
    "maxsim",
    MaxsimShape,
    reference=REFERENCE,
    everywhere=XLA,
    kernels=(Kernel("mosaic_gpu", "gpu", _mosaic_gpu), Kernel("mosaic_tpu", "tpu", _mosaic_tpu)),
)
