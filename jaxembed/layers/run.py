"""What a model is run with: its operations with their back ends, the row's cell, and the way through its layers.

A model asks a `Run` for all that depends on hardware or on who looks: subclasses note what a model asks (`engine.backends`),
watch it from within (`convert.tool.verification`), or read its layers when their turn comes (`convert.tool.streamed`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from jaxembed.kernels_pallas import Alibi, Choices, RelativeBias, Spans, attention, pool
from jaxembed.kernels_pallas.pool.parts import Dense
from jaxembed.layers.stack import Stack


@dataclass(frozen=True)
class Run:
    """The operations of one program.

    Attributes:
        cell: static; no text of the row crosses a multiple of it.
        choices: the back end of each operation.
    """

    cell: int
    choices: Choices

    def attention(
        self,
        q: Float[Array, "t n h"],
        k: Float[Array, "t k h"],
        v: Float[Array, "t k h"],
        spans: Spans,
        *,
        scale: float,
        softcap: float | None = None,
        bias: Alibi | RelativeBias | None = None,
    ) -> Float[Array, "t n h"]:
        """Returns what `kernels_pallas.attention` does."""
        choice = self.choices.attention
        return attention(q, k, v, spans, scale=scale, longest=self.cell, choice=choice, softcap=softcap, bias=bias)

    def pool(
        self,
        hidden: Float[Array, "t d"],
        starts: Int[Array, " s"],
        lengths: Int[Array, " s"],
        skip: Int[Array, " s"],
        dims: Int[Array, " s"] | None,
        normalize: Bool[Array, " s"] | None,
        dense: Dense | None = None,
        *,
        modes: tuple[str, ...],
    ) -> Float[Array, "s e"]:
        """Returns what `kernels_pallas.pool` does."""
        return pool(hidden, starts, lengths, skip, dims, normalize, dense, modes=modes, choice=self.choices.pool)

    def layers(
        self,
        layers: nnx.Module,
        x: Float[Array, "t d"],
        *shared: Any,
        options: Sequence[Any] | None = None,
        choose: Sequence[int] | None = None,
    ) -> Float[Array, "t d"]:
        """Returns what the last of `layers` makes of x: `x = layer(x, run, *shared)` for each in turn.

        Args:
            layers: what `stacked` gives.
            x: what enters the first layer.
            *shared: what every layer gets beside x and this run.
            options: what only some layers get, as a last argument: full or sliding spans, say.
            choose: for each layer the index of its option.
        """
        graph, state = nnx.split(layers)
        return self.through(Stack(graph, state, (self, *shared), options, choose), x)

    def through(self, stack: Stack, x: Array) -> Array:
        """Runs x through a stack: unrolled where each layer has arrays of its own, as on a CPU, else in a loop."""
        return stack.unrolled(x) if stack.is_unrolled else stack.scanned(x)
