"""Attention over a packed row, where each token sees one interval of keys."""

from jaxtyping import Array, Float

from jaxembed.kernels_pallas.attention.banded import banded
from jaxembed.kernels_pallas.attention.reference import reference
from jaxembed.kernels_pallas.bias import Alibi, RelativeBias
from jaxembed.kernels_pallas.choice import Choice
from jaxembed.kernels_pallas.spans import Spans

BACKENDS = {"reference": reference, "banded": banded}


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
    backend = BACKENDS[choice.backend]
    return backend(q, k, v, spans, scale=scale, longest=longest, choice=choice, softcap=softcap, bias=bias)
