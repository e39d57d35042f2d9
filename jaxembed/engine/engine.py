"""Texts in, results out, in the order given: the one engine behind library, server and batch jobs.

A window of texts is planned into rows; while the device works on them the host lays out the next, and another thread already
pulls, and so tokenizes, the next window.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import jax
import numpy as np

from jaxembed.engine import forks
from jaxembed.engine.backends import Backends
from jaxembed.engine.model import Model
from jaxembed.engine.pipeline import Pipeline
from jaxembed.engine.programs import Programs
from jaxembed.heads.task import Task
from jaxembed.heads.vectors import EMBED
from jaxembed.kernels_pallas import Target
from jaxembed.packing import planning
from jaxembed.packing.packed import Packed
from jaxembed.packing.planning import Row
from jaxembed.packing.text import Text

# Texts planned together. Enough to fill rows to 97 % and more, few enough that a stream of millions stays in bounded memory.
WINDOW_TEXTS = 4096

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Planned:
    """A row of a window."""

    task: Task
    row: Row
    texts: Sequence[Text]


class Engine:
    """A loaded model on one device, and its compiled programs. Safe to use from several threads.

    Args:
        model: what to run.
        device: where; by default jax's first device.
        attention, pool: force a back end by name instead of the one that `choose` takes for the device.

    Raises:
        BackendError: a forced back end cannot serve; the message says what it misses.
    """

    def __init__(
        self, model: Model, *, device: jax.Device | None = None, attention: str | None = None, pool: str | None = None
    ) -> None:
        forks.begin()
        device = device or jax.devices()[0]
        self.model, self.device = model, device
        self.target = Target(device.platform, device.device_kind)
        self.table = planning.TABLES[self.target.platform]
        full = self.table.shape(self.table.row, self.table.cell)
        forced = {"attention": attention, "pool": pool}
        backends = Backends(model.graph, model.state, self.target, full, forced)
        # What a full row of short texts runs, for people to read.
        self.choices = backends(full)
        self._programs = Programs(model.graph, model.state, backends)

    @property
    def compiled(self) -> int:
        """How many programs have been compiled so far; it stays the same after a warm-up."""
        return self._programs.compiled

    def warm_up(self, tasks: Sequence[Task] = (EMBED,), *, longest: int | None = None) -> None:
        """Compiles every program that a text of up to `longest` tokens can need, by default the model's longest."""
        forks.check()
        for _ in self.warm_up_steps(tasks, longest=longest):
            pass

    def warm_up_steps(self, tasks: Sequence[Task] = (EMBED,), *, longest: int | None = None) -> Iterator[int]:
        """The same, yielding after each program how many are done."""
        shapes = self.table.shapes(longest or self.model.max_length)
        for done, (task, shape) in enumerate(((task, shape) for task in tasks for shape in shapes), 1):
            self._programs.compile(task, shape)
            yield done

    def prepare(self, task: Task) -> None:
        """Compiles the one program that can hold any row of this task, so that no text waits for a compiler after it."""
        self._programs.compile(task, max(self.table.shapes(self.model.max_length)))

    def run(self, texts: Iterable[Text], task: Task = EMBED, *, progress: Progress | None = None) -> Iterator[Any]:
        """Yields one result of `task` for each text, in input order.

        Args:
            texts: as `Encoder.texts` gives them: what lies outside a vocabulary or a position table is not looked for here.
                May be a generator: it is pulled in windows of some thousand, in another thread.
            task: what to compute. EMBED gives [dimensions]; TOKEN_EMBED gives [n, dimensions], heads and normalization
                applied to every token; HIDDEN gives [n, d], the last hidden states as the transformer leaves them; all
                float32.
            progress: called after each row with how many texts and tokens it held.

        Raises:
            BackendError: in a process that was forked after a model had been loaded.
        """
        forks.check()
        stream = iter(texts)
        window = list(islice(stream, WINDOW_TEXTS))
        with ThreadPoolExecutor(1, thread_name_prefix="jaxembed-read") as reader:
            while window:
                # A window that is not full was the last: nothing is left to read ahead.
                ahead = reader.submit(list, islice(stream, WINDOW_TEXTS)) if len(window) == WINDOW_TEXTS else None
                yield from self._run_window(window, task, progress)
                window = ahead.result() if ahead else []

    def _run_window(self, texts: Sequence[Text], task: Task, progress: Progress | None) -> list[Any]:
        results: list[Any] = [None] * len(texts)
        planned = planning.plan([len(text.ids) for text in texts], self.table)
        rows = (_Planned(task, row, texts) for row in planned)
        pipeline: Pipeline[_Planned] = Pipeline(self)
        done = 0
        while done < len(planned):
            finished = pipeline.turn(lambda: next(rows, None))
            if finished is None:
                continue
            row = finished[0].batch.row
            for index, result in zip(row.texts, finished[1], strict=True):
                results[index] = result
            done += 1
            if progress is not None:
                progress(len(row.texts), row.tokens)
        return results

    def start(self, task: Task, row: Row, texts: Sequence[Text]) -> Any:
        """Lays out one planned row and starts its program; returns while the device still works on it.

        texts: what the row's indices mean. A program that is missing is compiled first unless a larger one is ready.
        """
        shape = self._programs.pick(task, row.shape)
        return self._programs(task, shape, Packed.host(row, texts, shape))

    def finish(self, task: Task, row: Row, texts: Sequence[Text], output: Any) -> list[Any]:
        """Waits for a started row and returns the results of its texts in the order of `row.texts`."""
        output = np.asarray(output) if isinstance(output, jax.Array) else jax.tree.map(np.asarray, output)
        return task.cut(output, [texts[index] for index in row.texts], row.starts)
