"""Keeps rows in flight: one runs, one waits behind it, and the host lays out the next. The one loop of engine and scheduler."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from jaxembed.heads.task import Task
from jaxembed.packing.planning import Row, Table
from jaxembed.packing.text import Text

# One row runs, one waits behind it: the device never idles while the host packs.
ROWS_IN_FLIGHT = 2


class Runner(Protocol):
    """What starts and finishes planned rows: an engine, or what stands in for one."""

    table: Table

    def start(self, task: Task, row: Row, texts: Sequence[Text]) -> Any:
        """Starts a row and returns a handle while it runs. texts: what the row's indices mean."""
        ...

    def finish(self, task: Task, row: Row, texts: Sequence[Text], output: Any) -> list[Any]:
        """Waits for a started row and returns the results of its texts in the order of `row.texts`."""
        ...


class Batch(Protocol):
    """A planned row with its task, and the texts that its indices mean."""

    @property
    def task(self) -> Task:
        """What to compute."""
        ...

    @property
    def row(self) -> Row:
        """Where the texts lie."""
        ...

    @property
    def texts(self) -> Sequence[Text]:
        """What the row's indices mean."""
        ...


@dataclass(eq=False, slots=True)
class Flight[B: Batch]:
    """A row that the device has been given, or is just being given. began: by `time.monotonic`."""

    batch: B
    began: float
    output: Any = None


class Pipeline[B: Batch]:
    """The rows in flight on one runner, oldest first. Used by one thread; others may look at `flights`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.flights: deque[Flight[B]] = deque()
        self._busy_with: Flight[B] | None = None

    def turn(self, take: Callable[[], B | None]) -> tuple[Flight[B], list[Any]] | None:
        """Starts the next row if there is room and `take` gives one; else waits for the oldest and returns it, finished.

        Returns None where a row was started, and where nothing is left to do. Whatever the runner raises passes through, and
        the row that it is about stays in flight until it is dropped.
        """
        batch = take() if len(self.flights) < ROWS_IN_FLIGHT else None
        if batch is not None:
            # Before the start, so that a crash in it finds the row among those in flight.
            self._busy_with = flight = Flight(batch, time.monotonic())
            self.flights.append(flight)
            flight.output = self._runner.start(batch.task, batch.row, batch.texts)
            return None
        if not self.flights:
            return None
        self._busy_with = flight = self.flights[0]
        results = self._runner.finish(flight.batch.task, flight.batch.row, flight.batch.texts, flight.output)
        self.flights.popleft()
        return flight, results

    def drop(self) -> Flight[B]:
        """Takes out and returns the row that the runner has just failed with."""
        assert self._busy_with is not None, "something was started or awaited"
        self.flights.remove(self._busy_with)
        return self._busy_with
