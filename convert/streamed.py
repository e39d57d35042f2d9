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
    leaves: dict[str, Any] = {}
    for parameter in parameters:
        kind = dtype if parameter.in_backbone else np.float32
        leaves[parameter.path] = _OnDemand(parameter, kind, int8) if parameter.stacked else _piece(parameter, 0, kind, int8)
    embedder = nnx.merge(graph, fill(state, leaves))
    vectors = np.zeros((len(texts), width), np.float32)
    with jax.default_matmul_precision("highest"):
        for row in batching.plan([len(text.ids) for text in texts], _ROWS):
            fields = map(jnp.asarray, batching.arrays(row, texts, row.shape, width))
            found = np.asarray(embedder.embed(Packed(*fields, cell=row.shape.cell), _CHOICES))
            vectors[list(row.texts)] = found[: len(row.texts)]
    return vectors


class _OnDemand(tuple):
    """What `layers.each_layer` unrolls: one item for each layer, read when it is taken."""

    __slots__ = ()

    def __new__(cls, parameter: Parameter, dtype: Any, int8: bool) -> "_OnDemand":
        return super().__new__(cls, [(parameter, index, dtype, int8) for index in range(parameter.shape[0])])

    def __getitem__(self, index: Any) -> Any:
        return _piece(*super().__getitem__(index))


def _piece(parameter: Parameter, index: int, dtype: Any, int8: bool) -> Any:
    """One piece on the device, rounded to `dtype` and widened to float32 again."""

    def wide(part: np.ndarray) -> jax.Array:
        return jnp.asarray(part if part.dtype == np.int8 else part.astype(np.float32))

    return jax.tree.map(wide, parameter.piece(index, dtype, int8=int8))
