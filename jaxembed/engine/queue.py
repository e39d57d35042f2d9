"""Which row comes next: requests in two lanes, planned over the oldest texts of each. Knows nothing about threads or engines.

Requests that fit one row go into the quick lane, larger ones into the bulk lane, so that one long document cannot stall short
queries. While both have work the bulk lane earns its share of the tokens, and so can never starve.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from jaxembed.heads.task import Task
from jaxembed.packing import planning
from jaxembed.packing.planning import Row, Table
from jaxembed.packing.text import Text

# Full rows planned at once. More fills rows better; fewer lets a new text come up sooner.
WINDOW_ROWS = {"quick": 2, "bulk": 8}
# The part of the tokens that bulk work gets while quick work waits all the time.
BULK_SHARE = 0.25


class Future(Protocol):
    """Where a request's results go: a future of `concurrent.futures` or of `asyncio`."""

    def done(self) -> bool:
        """Whether it has been resolved or cancelled."""
        ...

    def set_result(self, result: list[np.ndarray], /) -> None:
        """Takes the results."""
        ...

    def set_exception(self, exception: Exception, /) -> None:
        """Takes an error instead."""
        ...


@dataclass(eq=False, slots=True)
class Job:
    """One request: its texts, and what has come of them.

    deadline, arrived: by `time.monotonic`. waiting_tokens: those that have not been given to the engine. settled: whether its
    results or its error are on their way.
    """

    texts: Sequence[Text]
    future: Future
    task: Task
    lane: str
    deadline: float | None
    arrived: float
    results: list[Any] = field(default_factory=list)
    missing: int = 0
    waiting_tokens: int = 0
    error: Exception | None = None
    settled: bool = False

    def __post_init__(self) -> None:
        self.results, self.missing = [None] * len(self.texts), len(self.texts)
        self.waiting_tokens = sum(len(text.ids) for text in self.texts)


# One text of a job.
Item = tuple[Job, int]


def tokens_of(item: Item) -> int:
    """Returns the length of a text."""
    job, index = item
    return len(job.texts[index].ids)


@dataclass(slots=True)
class Batch:
    """A planned row. window, texts: what its indices mean."""

    task: Task
    lane: str
    row: Row
    window: Sequence[Item]
    texts: Sequence[Text]

    def items(self) -> Iterator[Item]:
        """Yields the texts of the row."""
        return (self.window[index] for index in self.row.texts)

    def without_settled(self, is_settled: Callable[[Job], bool]) -> "Batch | None":
        """Returns this row without the texts of settled jobs, None if nothing is left."""
        kept = [slot for slot, index in enumerate(self.row.texts) if not is_settled(self.window[index][0])]
        if len(kept) == len(self.row.texts):
            return self
        if not kept:
            return None
        texts = tuple(self.row.texts[slot] for slot in kept)
        starts = tuple(self.row.starts[slot] for slot in kept)
        tokens = sum(len(self.texts[index].ids) for index in texts)
        return replace(self, row=replace(self.row, texts=texts, starts=starts, tokens=tokens))


@dataclass(slots=True)
class Lane:
    """Texts in order of arrival, and the rows planned over the oldest of them."""

    name: str
    waiting: deque[Item] = field(default_factory=deque)
    planned: deque[Batch] = field(default_factory=deque)

    def plan(self, table: Table, is_settled: Callable[[Job], bool]) -> bool:
        """Plans rows over the oldest texts of open jobs unless rows are planned already. Returns whether there are any."""
        while not self.planned and self.waiting:
            taken = self._window(WINDOW_ROWS[self.name] * table.row)
            try:
                self._plan(taken, table, is_settled)
            except BaseException:
                # Whatever fails, no text is lost.
                self.waiting.extendleft(reversed(taken))
                raise
        return bool(self.planned)

    def _window(self, budget: int) -> list[Item]:
        """Takes the oldest texts of one task, some `budget` tokens of them and at least one."""
        taken: list[Item] = []
        task, tokens = self.waiting[0][0].task, 0
        while self.waiting and tokens < budget and self.waiting[0][0].task is task:
            taken.append(self.waiting.popleft())
            tokens += tokens_of(taken[-1])
        return taken

    def _plan(self, taken: Sequence[Item], table: Table, is_settled: Callable[[Job], bool]) -> None:
        window = [item for item in taken if not is_settled(item[0])]
        texts = [job.texts[index] for job, index in window]
        rows = planning.plan([len(text.ids) for text in texts], table)
        self.planned.extend(Batch(window[0][0].task, self.name, row, window, texts) for row in rows)

    def put_back(self, batch: Batch | None = None) -> None:
        """Makes planned texts, and those of `batch`, wait again in the order of their jobs."""
        batches = [*self.planned] if batch is None else [batch, *self.planned]
        items = [item for each in batches for item in each.items()]
        self.planned.clear()
        self.waiting.extendleft(sorted(items, key=lambda item: (item[0].arrived, item[1]), reverse=True))


class Queue:
    """The two lanes, and whose turn it is. Filled by any thread, emptied by one."""

    def __init__(self) -> None:
        self.quick, self.bulk = Lane("quick"), Lane("bulk")
        self._credit = 0.0  # tokens that the bulk lane may run before the quick lane's next row

    def add(self, job: Job) -> None:
        """Puts a job at the end of its lane."""
        lane = self.quick if job.lane == "quick" else self.bulk
        lane.waiting.extend((job, index) for index in range(len(job.texts)))

    @property
    def empty(self) -> bool:
        """Whether nothing waits and nothing is planned."""
        return not any(lane.waiting or lane.planned for lane in (self.quick, self.bulk))

    def take(self, table: Table, is_settled: Callable[[Job], bool], room: int) -> Batch | None:
        """Takes the next row, without texts of settled jobs. None if there is none, or if it is longer than `room` tokens."""
        while (lane := self._turn(table, is_settled)) is not None:
            row = lane.planned[0].row
            if row.shape.row > room:
                return None
            if lane is self.bulk:
                self._credit = max(self._credit - row.tokens, 0.0)
            elif not self.bulk.planned:
                self._credit = 0.0
            else:
                self._credit += row.tokens * BULK_SHARE / (1 - BULK_SHARE)
            batch = lane.planned.popleft().without_settled(is_settled)
            if batch is not None:
                return batch
        return None

    def _turn(self, table: Table, is_settled: Callable[[Job], bool]) -> Lane | None:
        has_quick, has_bulk = self.quick.plan(table, is_settled), self.bulk.plan(table, is_settled)
        if has_quick and has_bulk:
            return self.bulk if self._credit >= self.bulk.planned[0].row.tokens else self.quick
        return self.quick if has_quick else self.bulk if has_bulk else None

    def put_back(self, batch: Batch) -> None:
        """Makes the texts of `batch` and all that is planned wait again, because rows have another size now."""
        self.quick.put_back(batch if batch.lane == "quick" else None)
        self.bulk.put_back(batch if batch.lane == "bulk" else None)

    def keep(self, wanted: Callable[[Job], bool]) -> None:
        """Drops every text whose job is not wanted; the others wait again."""
        for lane in (self.quick, self.bulk):
            lane.put_back()
            lane.waiting = deque(item for item in lane.waiting if wanted(item[0]))
