"""Attention over a packed row, where each token sees one interval of keys."""

from importlib import import_module

from jaxtyping import Array, Float

from jaxembed.kernels_pallas.bias import Alibi, RelativeBias
from jaxembed.kernels_pallas.choice import Choice
from jaxembed.kernels_pallas.shapes import AttentionShape
from jaxembed.kernels_pallas.spans import Spans


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

    Query head i reads key head i // (n / k). `longest` is the static cell size of the row: no span crosses a multiple of
    it. `softcap` c replaces each scaled score x by c · tanh(x / c); `bias` is added after that. A token with an empty span
    gets zeros.
    """
    backend = getattr(import_module(f"{__name__}.{choice.backend}"), choice.backend)
    out: Array = backend(q, k, v, spans, scale=scale, longest=longest, choice=choice, softcap=softcap, bias=bias)
    return out


def attention_shape(q: Array, k: Array, *, longest: int, bias: Alibi | RelativeBias | None) -> AttentionShape:
    """Returns what `attention` is asked by these arguments, to choose a back end by."""
    t, n, h = q.shape
    reach = bias.reach if isinstance(bias, RelativeBias) else 0
    kind = {Alibi: "alibi", RelativeBias: "relative"}.get(type(bias))
    return AttentionShape(t, longest, n, k.shape[1], h, q.dtype.name, kind, reach)
