"""Vectors of a few texts from a model that is never in memory whole: each layer is read when its turn comes, and let go.

What a conversion records costs no more memory than the conversion does. A layer is compiled once for all of its kind, and its
weights come from the host in each turn of the loop, so this is slow for many texts and meant for a handful.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.experimental import io_callback
from jaxtyping import Array

from jaxembed.convert.weights.parameters import Declared, Parameter, fill
from jaxembed.heads.vectors import EMBED
from jaxembed.kernels_pallas import Choice, Choices
from jaxembed.kernels_pallas.attention import ATTENTION
from jaxembed.kernels_pallas.pool import POOL
from jaxembed.layers.run import Run
from jaxembed.layers.stack import Stack
from jaxembed.packing import planning
from jaxembed.packing.packed import Packed
from jaxembed.packing.planning import Table
from jaxembed.packing.text import Text

# One small row for all the texts.
_ROWS = Table(row=512, smallest=32, cell=32, tokens_per_text=4)
_STREAMED = "layers are streamed through plain XLA"
_CHOICES = Choices(*(Choice(one.everywhere, one.everywhere.tiles, _STREAMED) for one in (ATTENTION, POOL)))
# Bytes that may be read ahead of the layer that is computed.
_AHEAD = 64 << 20

# Gives one piece of a parameter on the host, an array or quantized.
Take = Callable[[Parameter, int], Any]


def streamed_vectors(
    model: Declared, parameters: Sequence[Parameter], take: Take, texts: Sequence[Text], width: int
) -> np.ndarray:
    """Returns the vectors [n, width] of some texts, float32, from products in float32.

    Args:
        model: without values.
        parameters: all of its.
        take: called for each piece when its turn comes, and again where it has another turn.
        texts: a few.
        width: of their vectors.
    """
    once = {one.path: _wide(take(one, 0)) for one in parameters if not one.stacked}
    layers = {one.path: _Stored(one, take) for one in parameters if one.stacked}
    vectors = np.zeros((len(texts), width), np.float32)
    for row in planning.plan([len(text.ids) for text in texts], _ROWS):
        run = StreamedRun(row.shape.cell, _CHOICES)

        def program(once: dict[str, jax.Array], packed: Packed, run: Run = run) -> jax.Array:
            vectors: jax.Array = EMBED.output(nnx.merge(model.graph, fill(model.state, {**once, **layers})), packed, run)
            return vectors

        with jax.default_matmul_precision("highest"):
            found = run.result(jax.jit(program), once, Packed.host(row, texts, row.shape))
        vectors[list(row.texts)] = found[: len(row.texts)]
    return vectors


@dataclass(frozen=True)
class _Stored:
    """A stacked parameter that lies on a disk: what stands in the state in place of its array."""

    parameter: Parameter
    take: Take

    @property
    def shape(self) -> tuple[int, ...]:
        """With the layers first."""
        return self.parameter.shape

    def layer(self, index: int) -> Any:
        """Reads one layer."""
        return _wide(self.take(self.parameter, index))


@dataclass(frozen=True)
class StreamedRun(Run):
    """Reads layers when their turn comes. failed: what reading raised."""

    failed: list[BaseException] = field(default_factory=list)

    def through(self, stack: Stack, x: Array) -> Array:
        """Runs x through layers whose weights the host gives, one in each turn of a compiled loop."""
        stored, tree = jax.tree.flatten(stack.state)
        first = [one.layer(0) for one in stored]
        shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), first)
        held = {0: first}

        def read(index: Array) -> list[Any]:
            number = int(index)
            try:
                if not self.failed:
                    return held.pop(number) if number in held else [one.layer(number) for one in stored]
            except BaseException as error:  # noqa: BLE001 - whatever it is, `result` raises it
                # It cannot leave a program by itself, which goes on with zeros instead.
                self.failed.append(error)
            return jax.tree.map(lambda one: np.zeros(one.shape, one.dtype), shapes)

        return stack.scanned(x, lambda i: jax.tree.unflatten(tree, io_callback(read, shapes, i, ordered=True)))

    def result(self, program: Callable[..., jax.Array], *arguments: Any) -> np.ndarray:
        """Returns what a program gives. Raises what reading raised."""
        found = np.asarray(program(*arguments))
        if self.failed:
            raise self.failed[0]
        return found


class ReadAhead:
    """Pieces of parameters, read by a thread of its own a little ahead of when they are taken.

    read: called in that thread, for each piece once, in the order of a model that runs: what it has one of, then layer by
    layer. A piece that is taken another time is read again by `again`.
    """

    def __init__(self, parameters: Sequence[Parameter], read: Take, again: Take) -> None:
        self._read, self._again = read, again
        once = [(one, 0) for one in parameters if not one.stacked]
        layers = [(one, index) for one in parameters if one.stacked for index in range(len(one.reads))]
        self._later = deque([*once, *sorted(layers, key=lambda item: item[1])])
        self._begun: dict[tuple[str, int], tuple[int, Future[Any]]] = {}
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="jaxembed-read")

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.shutdown(cancel_futures=True)

    def take(self, parameter: Parameter, index: int) -> Any:
        """Returns what was read of one piece."""
        key = (parameter.path, index)
        if key not in self._begun:
            # Its turn comes earlier than thought, or is over.
            waits = [item for item in self._later if (item[0].path, item[1]) == key]
            if not waits:
                return self._reader.submit(self._again, parameter, index).result()
            self._later.remove(waits[0])
            self._begin(*waits[0])
        _, reading = self._begun.pop(key)
        self._go_on()
        return reading.result()

    def rest(self) -> None:
        """Takes all that nobody took."""
        while self._begun or self._later:
            self._go_on()
            _, reading = self._begun.pop(next(iter(self._begun)))
            reading.result()

    def _go_on(self) -> None:
        while self._later and (not self._begun or sum(size for size, _ in self._begun.values()) < _AHEAD):
            self._begin(*self._later.popleft())

    def _begin(self, parameter: Parameter, index: int) -> None:
        size = int(np.prod(parameter.shape)) * parameter.dtype.itemsize // len(parameter.reads)
        self._begun[parameter.path, index] = (size, self._reader.submit(self._read, parameter, index))


def _wide(piece: Any) -> Any:
    """A piece in float32, but for the int8 of what is quantized."""
    return jax.tree.map(lambda part: part if part.dtype == np.int8 else part.astype(np.float32, copy=False), piece)
