"""Vectors of a few texts from a model that is never in memory whole: each layer is read when its turn comes, and let go.

What a conversion records costs no more memory than the conversion does. Nothing is compiled as a whole program, so this is slow
for many texts and meant for a handful.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxembed import batching
from jaxembed.batching import Table, Text
from jaxembed.convert.parameters import Parameter, fill
from jaxembed.kernels_pallas import Choice, Choices
from jaxembed.layers import layers_seen
from jaxembed.packed import Packed

# One small row for all the texts.
_ROWS = Table(row=512, smallest=32, cell=32, tokens_per_text=4)
_EAGER = "nothing is compiled, so there is no kernel"
_CHOICES = Choices(Choice("banded", (128, 256), _EAGER), Choice("xla", (1, 1), _EAGER))


def streamed_vectors(
    graph: nnx.GraphDef,
    state: Any,
    parameters: Sequence[Parameter],
    texts: Sequence[Text],
    width: int,
    *,
    int8: bool,
    dtype: Any,
) -> np.ndarray:
    """Returns the vectors [n, width] of some texts, float32.

    graph, state: what `parameters.declare` gives. int8, dtype: how the parameters of the backbone are rounded before they
    are used; all products are computed in float32.
    """
    vectors = np.zeros((len(texts), width), np.float32)
    with layers_seen() as seen, jax.default_matmul_precision("highest"):
        leaves: dict[str, Any] = {}
        for parameter in parameters:
            kind = dtype if parameter.in_backbone else np.float32
            one = (parameter, kind, int8)
            leaves[parameter.path] = _OnDemand(*one, seen) if parameter.stacked else _piece(*one, 0)
        embedder = nnx.merge(graph, fill(state, leaves))
        for row in batching.plan([len(text.ids) for text in texts], _ROWS):
            fields = map(jnp.asarray, batching.arrays(row, texts, row.shape, width))
            found = np.asarray(embedder.embed(Packed(*fields, cell=row.shape.cell), _CHOICES))
            vectors[list(row.texts)] = found[: len(row.texts)]
    return vectors


class _OnDemand(tuple):
    """What `layers.each_layer` unrolls: one item for each layer, read when it is taken."""

    __slots__ = ()

    def __new__(cls, parameter: Parameter, dtype: Any, int8: bool, seen: list[jax.Array]) -> "_OnDemand":
        return super().__new__(cls, [(seen, parameter, dtype, int8, index) for index in range(parameter.shape[0])])

    def __getitem__(self, index: Any) -> Any:
        seen, *one = super().__getitem__(index)
        # Without this the host would read layers far ahead of the device, which works behind its back.
        if seen:
            seen[-1].block_until_ready()
        return _piece(*one)


def _piece(parameter: Parameter, dtype: Any, int8: bool, index: int) -> Any:
    """One piece on the device, rounded to `dtype` and widened to float32 again."""

    def wide(part: np.ndarray) -> jax.Array:
        return jnp.asarray(part if part.dtype == np.int8 else part.astype(np.float32, copy=False))

    return jax.tree.map(wide, parameter.piece(index, dtype, int8=int8))
