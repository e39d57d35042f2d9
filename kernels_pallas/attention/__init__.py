"""Attention over a packed row, where each token sees one interval of keys."""

from jaxtyping import Array, Float

from jaxembed.kernels_pallas.attention.banded import BANDED
from jaxembed.kernels_pallas.attention.reference import REFERENCE
from jaxembed.kernels_pallas.backend import Backend, Kernel, Operation
from jaxembed.kernels_pallas.bias import Alibi, RelativeBias
from jaxembed.kernels_pallas.choice import Choice
from jaxembed.kernels_pallas.finite import apart
from jaxembed.kernels_pallas.shapes import AttentionShape
from jaxembed.kernels_pallas.spans import Spans

__all__ = ["ATTENTION", "attention", "attention_shape"]


def attention(
    q: Float[Array, "t n h"],
    k: Float[Array, "t k h"],
    v: Float[Array, "t k h"],
    spans: Spans,
    *,
    scale: float,
    longest: int,
    choice: Choice,
    softcap: float | None = None,
    bias: Alibi | RelativeBias | None = None,
) -> Float[Array, "t n h"]:
    """Returns softmax(scale · q kᵀ) v over each token's span, the softmax in float32.

    Vaswani et al., arXiv 1706.03762, section 3.2.1, with a span for a mask.

    Args:
        q: queries of a row of t tokens, n heads of width h.
        k: keys. n is a multiple of their k heads: query head i reads key head i // (n / k).
        v: values, one for each key.
        spans: which keys each token sees. A token with an empty span gets zeros.
        scale: factor of every score, mostly 1 / √h.
        longest: the cell size of the row in tokens, static: no span crosses a multiple of it.
        choice: the back end that `choose` took for these shapes.
        softcap: c replaces each scaled score x by c · tanh(x / c); None leaves them.
        bias: what is added to scores for the distance of query and key, after the soft cap.

    Returns:
        What each token's query heads read, of q's type. A query that sees a key or a value that is not finite gets NaN from
        that head, and no other query does.
    """
    k, v = apart(k, v)
    return choice.backend.run(q, k, v, spans, scale=scale, longest=longest, tiles=choice.tiles, softcap=softcap, bias=bias)


def attention_shape(
    q: Float[Array, "t n h"], k: Float[Array, "t k h"], *, longest: int, bias: Alibi | RelativeBias | None
) -> AttentionShape:
    """Returns what `attention` is asked by these arguments, to choose a back end by."""
    t, n, h = q.shape
    reach = bias.reach if isinstance(bias, RelativeBias) else 0
    rule = {Alibi: "alibi", RelativeBias: "relative"}.get(type(bias))
    return AttentionShape(t, longest, n, k.shape[1], h, q.dtype.name, rule, reach)


def _mosaic_gpu() -> Backend[AttentionShape]:
    from jaxembed.kernels_pallas.attention.mosaic_gpu import MOSAIC_GPU

    return MOSAIC_GPU


def _mosaic_tpu() -> Backend[AttentionShape]:
    from jaxembed.kernels_pallas.attention.mosaic_tpu import MOSAIC_TPU

    return MOSAIC_TPU


ATTENTION = Operation(
    "attention",
    AttentionShape,
    reference=REFERENCE,
    everywhere=BANDED,
    kernels=(Kernel("mosaic_gpu", "gpu", _mosaic_gpu), Kernel("mosaic_tpu", "tpu", _mosaic_tpu)),
)
