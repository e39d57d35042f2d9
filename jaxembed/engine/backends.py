"""Which back ends the programs of a model run: what the model asks is noted once, without touching a device."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from jaxembed.errors import BackendError
from jaxembed.heads.tokens import TOKEN_EMBED
from jaxembed.heads.vectors import EMBED
from jaxembed.kernels_pallas import OPERATIONS, AttentionShape, Choice, Choices, PoolShape, Target, choose
from jaxembed.kernels_pallas.attention import attention_shape
from jaxembed.kernels_pallas.pool import pool_shape
from jaxembed.layers.run import Run
from jaxembed.packing.packed import Packed
from jaxembed.packing.planning import RowShape


class Backends:
    """Gives the back ends for any shape of row."""

    def __init__(
        self, graph: nnx.GraphDef, state: Any, target: Target, shape: RowShape, forced: Mapping[str, str | None]
    ) -> None:
        """Notes what a model asks.

        Args:
            graph, state: the split `Embedder`.
            target: the hardware.
            shape: any that the model can run.
            forced: back ends by operation, or None.

        Raises:
            BackendError: a forced one cannot serve `shape`; the message says what it misses.
        """
        self._target, self._forced = target, forced
        self._asked = _survey(graph, state, shape)

    def __call__(self, shape: RowShape) -> Choices:
        """Returns the back ends of the program for `shape`."""
        return Choices(self._choose("attention", shape), self._choose("pool", shape))

    def _choose(self, operation: str, shape: RowShape) -> Choice:
        """One choice for all layers: a kernel only where every layer's heads meet its requirements."""
        asked = [_at(one, shape) for one in self._asked if one.operation == operation]
        try:
            taken = [choose(operation, self._target, one, force=self._forced.get(operation)) for one in asked]
        except ValueError as error:
            raise BackendError(str(error)) from None
        if not taken:
            reference = OPERATIONS[operation].reference
            return Choice(reference, reference.tiles, f"the model asks for no {operation}")
        kernels = [choice for choice in taken if choice.backend.platform is not None]
        return min(kernels if len(kernels) == len(taken) else [c for c in taken if c not in kernels], key=lambda c: c.tiles)


@dataclass(frozen=True)
class Survey(Run):
    """Notes what a model asks of each operation, and computes nothing."""

    seen: list[AttentionShape | PoolShape] = field(default_factory=list)

    def attention(self, q: Array, k: Array, v: Array, spans: Any, *, bias: Any = None, **options: Any) -> Array:
        """Notes the shape and returns zeros."""
        self.seen.append(attention_shape(q, k, longest=self.cell, bias=bias))
        return jnp.zeros_like(q)

    def pool(self, hidden: Array, starts: Array, *rest: Any, modes: tuple[str, ...]) -> Array:
        """Notes the shape and returns zeros."""
        dense = rest[-1]
        self.seen.append(pool_shape(hidden, starts, dense, modes))
        (_, d), s = hidden.shape, starts.shape[0]
        return jnp.zeros((s, d * len(modes) if dense is None else dense.w.shape[1]), jnp.float32)


def _survey(graph: nnx.GraphDef, state: Any, shape: RowShape) -> list[AttentionShape | PoolShape]:
    """Traces the model once over a row of abstract arrays and returns what it asks, each shape once."""
    references = (Choice(OPERATIONS[name].reference, (1, 1), "nothing is computed") for name in ("attention", "pool"))
    survey = Survey(shape.cell, Choices(*references))

    def ask(state: Any, packed: Packed) -> Any:
        embedder = nnx.merge(graph, state)
        return (EMBED if embedder.modes else TOKEN_EMBED).output(embedder, packed, survey)

    jax.eval_shape(ask, state, Packed.abstract(shape))
    return list(dict.fromkeys(survey.seen))


def _at(one: AttentionShape | PoolShape, shape: RowShape) -> AttentionShape | PoolShape:
    if isinstance(one, PoolShape):
        return replace(one, t=shape.row, longest=shape.cell, texts=shape.texts)
    return replace(one, t=shape.row, longest=shape.cell)
