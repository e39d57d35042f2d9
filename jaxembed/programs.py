"""Compiled programs, one for each shape of row and kind of output; knows nothing about texts or queues.

A program is compiled ahead of time and called as it is, so nothing is ever traced on the request path. The weights go in as
a flat tuple of leaves with their tree closed over: flattening a module at each call costs milliseconds.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxembed.batching import Shape
from jaxembed.kernels_pallas import Choices
from jaxembed.packed import Packed

# What a program may return: a vector for each text, a vector for each token, or the last hidden states.
KINDS = ("embed", "token_embed", "hidden")


class Programs:
    """The programs of one model on one device, compiled when first needed or all at once by the engine's warm-up.

    graph, state: the split `Embedder`; the state's arrays already lie on the device. choices: the back ends for a shape.
    """

    def __init__(self, graph: nnx.GraphDef, state: Any, choices: Callable[[Shape], Choices]) -> None:
        leaves, self._tree = jax.tree.flatten(state)
        self._graph, self._leaves, self._choices = graph, tuple(leaves), choices
        # bfloat16 products are exact in the hardware's float32 sums; float32 products must not be rounded to bfloat16 first.
        self._exact = all(leaf.dtype != jnp.bfloat16 for leaf in leaves)
        self._futures: dict[tuple[str, Shape], Future[Any]] = {}
        self._lock = threading.Lock()
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="jaxembed-compile")

    @property
    def compiled(self) -> int:
        """How many programs have been compiled so far."""
        return sum(future.done() for future in list(self._futures.values()))

    def compile(self, kind: str, shape: Shape) -> None:
        """Compiles the program for `shape` unless it is ready, and waits for it."""
        self._start(kind, shape).result()

    def pick(self, kind: str, shape: Shape) -> Shape:
        """Returns the shape to lay a row out in: its own if that is ready, else the smallest ready one that holds it.

        In the second case its own program is compiled in the background; where nothing ready holds it, now.
        """
        own = self._futures.get((kind, shape))
        if own is not None and own.done():
            return shape
        ready = [s for (k, s), future in list(self._futures.items()) if k == kind and future.done() and s.holds(shape)]
        started = self._start(kind, shape)
        if ready:
            return min(ready)
        started.result()
        return shape

    def __call__(self, kind: str, shape: Shape, arrays: tuple[np.ndarray, ...]) -> jax.Array:
        """Starts the program and returns its output at once, while the device still works on it.

        arrays: what `batching.arrays` returns. Output, float32: [s, e] for embed, [t, e] for token_embed, [t, d] for hidden.
        """
        output: jax.Array = self._futures[kind, shape].result()(self._leaves, *arrays)
        return output

    def _start(self, kind: str, shape: Shape) -> Future[Any]:
        with self._lock:
            if (kind, shape) not in self._futures:
                self._futures[kind, shape] = self._compiler.submit(self._compile, kind, shape)
            return self._futures[kind, shape]

    def _compile(self, kind: str, shape: Shape) -> Any:
        row, texts = jax.ShapeDtypeStruct((shape.row,), jnp.int32), jax.ShapeDtypeStruct((shape.texts,), jnp.int32)
        flags = jax.ShapeDtypeStruct((shape.texts,), jnp.bool_)
        weights = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding) for leaf in self._leaves)
        with jax.default_matmul_precision("highest") if self._exact else nullcontext():
            lowered = jax.jit(self._function(kind, shape)).lower(weights, row, texts, texts, texts, texts, flags, row)
        return lowered.compile()

    def _function(self, kind: str, shape: Shape) -> Any:
        choices = self._choices(shape)

        def program(leaves: tuple[jax.Array, ...], *arrays: jax.Array) -> jax.Array:
            embedder = nnx.merge(self._graph, jax.tree.unflatten(self._tree, leaves))
            output: jax.Array = getattr(embedder, kind)(Packed(*arrays, cell=shape.cell), choices)
            return output

        return program
