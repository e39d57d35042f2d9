"""How strongly each text calls for each word of a vocabulary, without ever writing what its tokens say."""

from importlib import import_module

from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.choice import Choice


def lexical(
    hidden: Float[Array, "t d"],
    vocabulary: Float[Array, "v d"],
    bias: Float[Array, " v"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    choice: Choice,
) -> Float[Array, "s v"]:
    """Returns the maximum over each text's tokens of hidden · vocabularyᵀ + bias, float32; a text without tokens gives -inf.

    starts, lengths: where text i lies, in the order of the row; unused places, all at the end, have start t and length 0.
    log(1 + relu(x)) grows with x, so a caller that wants the maximum of that (SPLADE, arXiv 2109.10086, section 3.1) applies it
    to what comes out of here: [s, v] numbers instead of [t, v].
    """
    backend = getattr(import_module(f"{__name__}.{choice.backend}"), choice.backend)
    out: Array = backend(hidden, vocabulary, bias, starts, lengths, choice=choice)
    return out
