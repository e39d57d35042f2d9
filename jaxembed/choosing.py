"""Which back ends the programs of a model run: what the model asks is surveyed once, without touching a device."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxembed.batching import Shape
from jaxembed.errors import BackendError
from jaxembed.kernels_pallas import OPERATIONS, AttentionShape, Choice, Choices, PoolShape, Survey, Target, choose
from jaxembed.packed import Packed


class Chooser:
    """Gives the back ends for any shape of row."""

    def __init__(self, graph: nnx.GraphDef, state: Any, target: Target, shape: Shape, forced: Mapping[str, str | None]) -> None:
        """graph, state: the split `Embedder`. shape: any that the model can run. forced: back ends by operation, or None.

        Raises `BackendError` if a forced one cannot serve `shape`, with what it misses.
        """
        self._target, self._forced = target, forced
        self._asked = _survey(graph, state, shape)

    def __call__(self, shape: Shape) -> Choices:
        """Returns the back ends of the program for `shape`."""
        return Choices(self._choose("attention", shape), self._choose("pool", shape))

    def _choose(self, operation: str, shape: Shape) -> Choice:
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


def _survey(graph: nnx.GraphDef, state: Any, shape: Shape) -> list[AttentionShape | PoolShape]:
    """Traces the model once over a row of abstract arrays and returns what it asks, each shape once."""
    survey = Survey()
    row, texts = jax.ShapeDtypeStruct((shape.row,), jnp.int32), jax.ShapeDtypeStruct((shape.texts,), jnp.int32)
    flags = jax.ShapeDtypeStruct((shape.texts,), jnp.bool_)

    def program(state: Any, *arrays: jax.Array) -> jax.Array:
        embedder = nnx.merge(graph, state)
        vectors: jax.Array = embedder.embed(Packed(*arrays, cell=shape.cell), Choices(survey, survey))
        return vectors

    jax.eval_shape(program, state, row, texts, texts, texts, texts, flags, row)
    return [one for one in dict.fromkeys(survey.seen) if isinstance(one, AttentionShape | PoolShape)]


def _at(one: AttentionShape | PoolShape, shape: Shape) -> AttentionShape | PoolShape:
    if isinstance(one, PoolShape):
        return replace(one, t=shape.row, longest=shape.cell, texts=shape.texts)
    return replace(one, t=shape.row, longest=shape.cell)
