"""Compiled programs, one for each task and shape of row; knows nothing about texts or queues.

A program is compiled ahead of time and called as it is, so nothing is ever traced on the request path. Weights and row go in
as flat leaves with their trees closed over: flattening a module at each call costs milliseconds, a row as one argument 20 µs.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from jaxembed.heads.task import Task
from jaxembed.kernels_pallas import Choices
from jaxembed.layers.run import Run
from jaxembed.packing.packed import Packed
from jaxembed.packing.planning import RowShape

# How long a program that could not be compiled is left alone.
_RETRY_SECONDS = 2.0

logger = logging.getLogger(__name__)


class Programs:
    """The programs of one model on one device, compiled when first needed or all at once by the engine's warm-up.

    graph, state: the split `Embedder`; the state's arrays already lie on the device. backends: the back ends for a shape.
    """

    def __init__(self, graph: nnx.GraphDef, state: Any, backends: Callable[[RowShape], Choices]) -> None:
        leaves, self._tree = jax.tree.flatten(state)
        self._graph, self._leaves, self._backends = graph, tuple(leaves), backends
        # Products of 16 bits are exact in the hardware's float32 sums; float32 products must not be rounded to bfloat16 first.
        self._exact = all(leaf.dtype not in (jnp.bfloat16, jnp.float16) for leaf in leaves)
        self._futures: dict[tuple[Task, RowShape], Future[Any]] = {}
        self._lock = threading.Lock()
        self._retry_at = 0.0
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="jaxembed-compile")

    @property
    def compiled(self) -> int:
        """How many programs have been compiled so far."""
        return sum(_is_ready(future) for future in list(self._futures.values()))

    def compile(self, task: Task, shape: RowShape) -> None:
        """Compiles the program for `shape` unless it is ready, and waits for it."""
        self._start(task, shape).result()

    def pick(self, task: Task, shape: RowShape) -> RowShape:
        """Returns the shape to lay a row out in: its own if that is ready, else the smallest ready one that holds it.

        In the second case its own program is compiled in the background; where nothing ready holds it, now.
        """
        own = self._futures.get((task, shape))
        if own is not None and _is_ready(own):
            return shape
        ready = [s for (t, s), future in list(self._futures.items()) if t is task and _is_ready(future) and s.holds(shape)]
        started = self._start(task, shape)
        if ready:
            return min(ready)
        started.result()
        return shape

    def __call__(self, task: Task, shape: RowShape, packed: Packed) -> Any:
        """Starts the program and returns its output at once, while the device still works on it.

        packed: a row of this shape on the host. The output is that of the task, float32.
        """
        return self._futures[task, shape].result()(self._leaves, *jax.tree.leaves(packed))

    def _start(self, task: Task, shape: RowShape) -> Future[Any]:
        with self._lock:
            known = self._futures.get((task, shape))
            # What the compiler failed with, such as a moment without memory, may be over; but each try costs seconds.
            again = known is not None and known.done() and not _is_ready(known) and time.monotonic() > self._retry_at
            if known is None or again:
                known = self._futures[task, shape] = self._compiler.submit(self._compile, task, shape)
            return known

    def _compile(self, task: Task, shape: RowShape) -> Any:
        try:
            return self.lowered(task, shape).compile()
        except Exception:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            logger.exception("the program for rows of %d tokens cannot be compiled", shape.row)
            raise

    def lowered(self, task: Task, shape: RowShape) -> Any:
        """Returns the program for `shape` as the compiler gets it."""
        weights = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding) for leaf in self._leaves)
        with jax.default_matmul_precision("highest") if self._exact else nullcontext():
            return jax.jit(self._function(task, shape)).lower(weights, *jax.tree.leaves(Packed.abstract(shape)))

    def _function(self, task: Task, shape: RowShape) -> Any:
        run, fields = Run(shape.cell, self._backends(shape)), jax.tree.structure(Packed.abstract(shape))

        def program(leaves: tuple[jax.Array, ...], *arrays: jax.Array) -> Any:
            embedder = nnx.merge(self._graph, jax.tree.unflatten(self._tree, leaves))
            return task.output(embedder, jax.tree.unflatten(fields, arrays), run)

        return program


def _is_ready(future: Future[Any]) -> bool:
    return future.done() and future.exception() is None
