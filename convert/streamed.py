"""Vectors of a few texts from a model that is never in memory whole: each layer is read when its turn comes, and let go.

What a conversion records costs no more memory than the conversion does. Only a layer is compiled, never the whole program, so
this is slow for many texts and meant for a handful.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from flax import nnx

from jaxembed import batching
from jaxembed.batching import Table, Text
from jaxembed.convert.parameters import Parameter, fill
from jaxembed.kernels_pallas import Choice, Choices
from jaxembed.kernels_pallas.attention import ATTENTION
from jaxembed.kernels_pallas.pool import POOL
from jaxembed.layers import Turns, looping
from jaxembed.packed import Packed

# One small row for all the texts.
_ROWS = Table(row=512, smallest=32, cell=32, tokens_per_text=4)
_STREAMED = "layers are streamed through plain XLA"
_CHOICES = Choices(*(Choice(one.everywhere, one.everywhere.tiles, _STREAMED) for one in (ATTENTION, POOL)))
# Bytes that may be read ahead of the layer that is computed.
_AHEAD = 64 << 20

# Gives one piece of a parameter on the host, an array or quantized.
Take = Callable[[Parameter, int], Any]


def streamed_vectors(
    graph: nnx.GraphDef, state: Any, parameters: Sequence[Parameter], take: Take, texts: Sequence[Text], width: int
) -> np.ndarray:
    """Returns the vectors [n, width] of some texts, float32, from products in float32.

    graph, state: what `parameters.declare` gives. take: called for each piece when its turn comes, and again where it has
    another turn.
    """
    once = {one.path: _wide(take(one, 0)) for one in parameters if not one.stacked}
    layers = {one.path: _OnDemand((one, take, index) for index in range(len(one.reads))) for one in parameters if one.stacked}
    vectors = np.zeros((len(texts), width), np.float32)
    for row in batching.plan([len(text.ids) for text in texts], _ROWS):

        def program(once: dict[str, jax.Array], fields: Sequence[jax.Array], cell: int = row.shape.cell) -> jax.Array:
            embedder = nnx.merge(graph, fill(state, {**once, **layers}))
            return embedder.embed(Packed(*fields, cell=cell), _CHOICES)

        with jax.default_matmul_precision("highest"):
            found = _in_parts(program, once, batching.arrays(row, texts, row.shape, width))
        vectors[list(row.texts)] = np.asarray(found)[: len(row.texts)]
    return vectors


def _in_parts(program: Callable[..., jax.Array], *arguments: Any) -> jax.Array:
    """Returns `program(*arguments)`, compiled in parts: what comes before a loop over layers, one layer, what comes behind."""
    finished: list[jax.Array] = []
    while True:
        part = _Part(program)
        result = jax.jit(part)(arguments, finished)
        if part.turns is None:
            return result
        finished.append(_streamed(part.reached(result)))


class _Part:
    """A program up to its next loop over layers, or to its end where `turns` stays None.

    It is traced from the beginning, with what the loops before gave; XLA drops what only they needed.
    """

    def __init__(self, program: Callable[..., jax.Array]) -> None:
        self._program = program
        self._finished: Iterator[jax.Array] = iter(())
        self.turns: Turns | None = None

    def __call__(self, arguments: Sequence[Any], finished: Sequence[jax.Array]) -> Any:
        self._finished = iter(finished)
        with looping(self._loop):
            try:
                return self._program(*arguments)
            except _Reached:
                assert self.turns is not None
                return [leaf for leaf in jax.tree.leaves((self.turns.x, self.turns.shared)) if isinstance(leaf, jax.Array)]

    def _loop(self, turns: Turns) -> jax.Array:
        for x in self._finished:
            return x
        self.turns = turns
        raise _Reached

    def reached(self, computed: Sequence[jax.Array]) -> Turns:
        """Returns the loop that was reached, with arrays in the places where it was traced with none."""
        assert self.turns is not None
        values = iter(computed)
        leaves, tree = jax.tree.flatten((self.turns.x, self.turns.shared))
        x, shared = jax.tree.unflatten(tree, [next(values) if isinstance(leaf, jax.Array) else leaf for leaf in leaves])
        return replace(self.turns, x=x, shared=shared)


class _Reached(Exception):
    """The loop at which a part ends."""


def _streamed(turns: Turns) -> jax.Array:
    """Runs x through layers that are read when their turn comes."""
    step = jax.jit(turns.step, static_argnums=2)
    x = turns.x
    for i, chosen in enumerate(turns.choose):
        # Without waiting the host would take layers far ahead of the device, which works behind its back.
        x = step(turns.weights(i), x.block_until_ready(), chosen)
    return x


class _OnDemand(tuple):
    """What `Turns.weights` takes a layer from: (parameter, take, index) for each, read when it is taken."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        parameter, take, layer = super().__getitem__(index)
        return _wide(take(parameter, layer))


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
    """A piece on the device, in float32 but for the int8 of what is quantized."""

    def wide(part: np.ndarray) -> jax.Array:
        return jax.device_put(part if part.dtype == np.int8 else part.astype(np.float32, copy=False))

    return jax.tree.map(wide, piece)
