"""How strongly each text calls for each word of a vocabulary, without ever writing what its tokens say."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.backend import Backend, Kernel, Operation
from jaxembed.kernels_pallas.choice import Choice
from jaxembed.kernels_pallas.finite import any_between, set_aside
from jaxembed.kernels_pallas.lexical.reference import REFERENCE
from jaxembed.kernels_pallas.lexical.xla import XLA
from jaxembed.kernels_pallas.shapes import LexicalShape

__all__ = ["LEXICAL", "lexical"]


def lexical(
    hidden: Float[Array, "t d"],
    vocabulary: Float[Array, "v d"],
    bias: Float[Array, " v"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    choice: Choice,
) -> Float[Array, "s v"]:
    """Returns the maximum over each text's tokens of hidden · vocabularyᵀ + bias, float32.

    log(1 + relu(x)) grows with x, so a caller that wants the maximum of that (SPLADE, arXiv 2109.10086, section 3.1) applies it
    to what comes out of here: [s, v] numbers instead of [t, v].

    Args:
        hidden: the states of a row of t tokens.
        vocabulary: a vector for each word.
        bias: what is added to each word's products.
        starts: where each text begins, in tokens of the row and in its order; unused places, all at the end, have start t.
        lengths: each text's tokens; 0 for unused places.
        choice: the back end that `choose` took for these shapes.

    Returns:
        A number for each place and word; a text without tokens gives -inf, one with a token that is not finite NaN.
    """
    states, broken = set_aside(hidden)
    highest = choice.backend.run(states, vocabulary, bias, starts, lengths, tiles=choice.tiles)
    return jnp.where(any_between(broken, starts, starts + lengths)[:, None], jnp.nan, highest)


def _mosaic_gpu() -> Backend[LexicalShape]:
    from jaxembed.kernels_pallas.lexical.mosaic_gpu import MOSAIC_GPU

    return MOSAIC_GPU


def _mosaic_tpu() -> Backend[LexicalShape]:
    from jaxembed.kernels_pallas.lexical.mosaic_tpu import MOSAIC_TPU

    return MOSAIC_TPU


LEXICAL = Operation(
    "lexical",
    LexicalShape,
    reference=REFERENCE,
    everywhere=XLA,
    kernels=(Kernel("mosaic_gpu", "gpu", _mosaic_gpu), Kernel("mosaic_tpu", "tpu", _mosaic_tpu)),
)
