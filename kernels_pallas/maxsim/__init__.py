"""Late interaction: how well each token of a query is met by the best token of a document."""

from importlib import import_module

from jaxtyping import Array, Float, Int

from jaxembed.kernels_pallas.choice import Choice


def maxsim(
    queries: Float[Array, "q i d"],
    documents: Float[Array, "t d"],
    starts: Int[Array, " s"],
    lengths: Int[Array, " s"],
    *,
    choice: Choice,
) -> Float[Array, "q s"]:
    """Returns for each query and document the sum over the query's tokens i of max over the document's tokens j of q_i · d_j.

    Float32 (Khattab and Zaharia, arXiv 2004.12832, equation 3). queries: shorter ones end in rows of zeros, which add nothing.
    documents: one behind the other; starts, lengths: where document s lies, in order, unused places with start t and length 0,
    which score -inf.
    """
    backend = getattr(import_module(f"{__name__}.{choice.backend}"), choice.backend)
    out: Array = backend(queries, documents, starts, lengths, choice=choice)
    return out
