"""A bounded queue in front of an engine, and one supervised thread that runs it: for requests that come at any time.

Knows nothing about HTTP and nothing about jax: whatever starts and finishes a planned row is an engine to it. A request is
taken whole or refused at once, with the time after which it may come back. After each row the queue is looked at again, so a
text waits for at most the rows in flight and those of its lane before it.
"""

import logging
import math
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxembed.engine.pipeline import Flight, Pipeline, Runner
from jaxembed.engine.queue import BULK_SHARE, Batch, Future, Job, Queue
from jaxembed.engine.stats import Stats
from jaxembed.errors import DeadlineError, EngineError, OverloadedError, StoppedError
from jaxembed.heads.task import Task
from jaxembed.heads.vectors import EMBED
from jaxembed.packing import planning
from jaxembed.packing.text import Text

# After this many rows without running out of memory, a halved row is doubled again.
ROWS_UNTIL_REGROWN = 256
# How often the supervisor looks for a silent device. A thread that ends is noticed at once.
_LOOK_SECONDS = 0.1
# A device that is gone is looked for at least so often, however long it has been: what it costs is one text.
_LONGEST_PAUSE_SECONDS = 5.0

logger = logging.getLogger(__name__)


def settle(jobs: Sequence[Job]) -> None:
    """Resolves the futures of finished jobs. Futures of `asyncio` want this called in their event loop."""
    for job in jobs:
        if job.future.done():  # the client hung up
            continue
        if job.error is None:
            job.future.set_result(job.results)
        else:
            job.future.set_exception(job.error)


class Scheduler:
    """A queue and the thread that empties it. `start` it, `submit` requests, `drain` and `stop` it.

    Args:
        runner: what starts and finishes rows.
        deliver: called in the engine thread with jobs that are done; shall see to it that `settle` is called with them.
        max_queue_tokens: more never wait, except for one request that finds nothing before it.
        max_wait_seconds: a request that would wait longer is refused.
        max_bulk_wait_seconds: the same for the bulk lane, by default as long.
        stall_seconds: a device that is silent for so long counts as failed.
        probe: a text that the engine must manage after a crash before it is trusted again.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        deliver: Callable[[Sequence[Job]], Any] = settle,
        max_queue_tokens: int = 1 << 20,
        max_wait_seconds: float = 5.0,
        max_bulk_wait_seconds: float | None = None,
        stall_seconds: float = 120.0,
        probe: Text | None = None,
    ) -> None:
        self.stats = Stats()
        self.error: str | None = "it has not been started"
        self._runner, self._deliver, self._table = runner, deliver, runner.table
        self._max_queue_tokens, self._stall = max_queue_tokens, stall_seconds
        bulk = max_wait_seconds if max_bulk_wait_seconds is None else max_bulk_wait_seconds
        self._max_wait = {"quick": max_wait_seconds, "bulk": bulk}
        self._next_look = 0.0  # when an engine that failed is tried again, by `time.monotonic`
        self._probe = probe or Text(np.zeros(1, np.int32))
        self._wake = threading.Condition()  # guards _jobs and the counts of tokens
        self._jobs: set[Job] = set()  # every job whose future is open
        self._waiting = Counter[str]()  # tokens not in flight, by lane
        self._queue = Queue()
        self._pipeline: Pipeline[Batch] = Pipeline(runner)
        self._rows_since_halving = 0
        self._open, self._ended = True, False
        self._worker = threading.Thread()
        self._supervisor = threading.Thread(target=self._supervise, name="jaxembed-supervisor", daemon=True)

    # What the faces call.

    def start(self) -> None:
        """Starts the engine thread and the one that watches over it."""
        self.error = None
        self._start_worker()
        self._supervisor.start()

    def submit(
        self,
        texts: Sequence[Text],
        future: Future,
        *,
        task: Task = EMBED,
        priority: int = 0,
        deadline_seconds: float | None = None,
    ) -> None:
        """Takes a request whole, so that `future` gets the list of its results, or raises at once.

        Args:
            texts: at least one, each checked by the encoder.
            future: of `concurrent.futures` or `asyncio`.
            task: what to compute.
            priority: below 0 for the quick lane, above 0 for the bulk lane, 0 leaves it to the size.
            deadline_seconds: a request that waits longer fails with `DeadlineError`; None for no deadline.

        Raises:
            OverloadedError: too much waits; like the others it says when to come back.
            EngineError: the engine does not work.
            StoppedError: it takes nothing new.
        """
        tokens = sum(len(text.ids) for text in texts)
        lane = self._lane_for(tokens, priority)
        now = time.monotonic()
        deadline = None if deadline_seconds is None else now + deadline_seconds
        with self._wake:
            self._admit(lane, tokens, deadline_seconds)
            job = Job(texts, future, task, lane, deadline, now)
            self._jobs.add(job)
            self._queue.add(job)
            self._waiting[lane] += job.waiting_tokens
            if lane == "quick":
                self.stats.count_quick(tokens, now)
            self._wake.notify()

    def admit(self, tokens: int = 1, *, priority: int = 0, deadline_seconds: float | None = None) -> None:
        """Raises what `submit` would raise for so many tokens, so that a refused request need not be tokenized first."""
        with self._wake:
            self._admit(self._lane_for(tokens, priority), tokens, deadline_seconds)

    @property
    def is_open(self) -> bool:
        """Whether it takes requests at all: before `drain`."""
        return self._open

    @property
    def waiting_tokens(self) -> int:
        """Tokens that are not in flight yet."""
        return self._waiting.total()

    @property
    def tokens_in_flight(self) -> int:
        """Tokens in rows that the device has been given."""
        return sum(flight.batch.row.tokens for flight in list(self._pipeline.flights))

    @property
    def open_requests(self) -> int:
        """Requests that have been taken and not been answered."""
        return len(self._jobs)

    def predicted_wait_seconds(self, lane: str = "bulk") -> float:
        """How long a request that came now would wait until those before it are done; 0 while no rate is known.

        A lane counts on its share: quick work that is yet to come goes before bulk work that waits already.
        """
        rate = self.stats.tokens_per_second
        if rate is None:
            return 0.0
        before = self._waiting[lane] / self._share(lane, rate)
        if lane == "quick":
            before = min(before, float(self.waiting_tokens))
        return (before + self.tokens_in_flight) / rate

    def _share(self, lane: str, rate: float) -> float:
        """Returns the part of the rate that a lane gets while the other one goes on as it did lately."""
        if lane == "quick":
            return 1 - BULK_SHARE
        if self._waiting["quick"] > self._table.row:
            return BULK_SHARE
        return max(BULK_SHARE, 1 - self.stats.quick_tokens_per_second(time.monotonic()) / rate)

    def drain(self) -> None:
        """Takes nothing new from now on; what was taken is still served."""
        self._open = False

    def stop(self) -> None:
        """Ends the engine thread after the rows in flight. What is left fails with `StoppedError`."""
        with self._wake:
            self._open, self._ended = False, True
            self._wake.notify_all()
        for thread in (self._worker, self._supervisor):
            if thread.is_alive():
                thread.join(timeout=5)
        error = StoppedError("The server was stopped before the request was done.", retry_after_seconds=5)
        self._fail(self._jobs, error, "stopped")

    # Admission.

    def _lane_for(self, tokens: int, priority: int) -> str:
        quick = tokens <= self._table.row if priority == 0 else priority < 0
        return "quick" if quick else "bulk"

    def _admit(self, lane: str, tokens: int, deadline_seconds: float | None) -> None:
        if not self._open:
            self.stats.shed["stopping"] += 1
            raise StoppedError("The server is shutting down; send the request again.", retry_after_seconds=5)
        if self.error is not None:
            self.stats.shed["unhealthy"] += 1
            raise EngineError(f"The engine is not available: {self.error}.", retry_after_seconds=self._until_next_look())
        waiting, wait, full = self.waiting_tokens, self.predicted_wait_seconds(lane), self.stats.full_tokens_per_second
        most = self._max_wait[lane]
        own = tokens / (full * self._share(lane, full)) if full else 0.0
        if waiting and waiting + tokens > self._max_queue_tokens:
            self._shed("queue_full", f"{waiting} tokens wait and the queue holds {self._max_queue_tokens}", wait)
        if wait > most:
            self._shed("wait", f"the wait would be {wait:.1f} s and may be {most:g} s", wait - most)
        if deadline_seconds is not None and wait + own > deadline_seconds:
            why = f"it would take {wait + own:.1f} s and the deadline is {deadline_seconds:g} s"
            self._shed("deadline", why if wait else f"{why}; send fewer texts in one request", wait + own - deadline_seconds)

    def _until_next_look(self) -> float:
        """After how many seconds an engine that does not work may be back; the probe takes some time too."""
        return max(self._next_look - time.monotonic(), 0.0) + 1.0

    def _shed(self, reason: str, why: str, seconds: float) -> None:
        self.stats.shed[reason] += 1
        retry = min(max(math.ceil(seconds), 1), 60)
        raise OverloadedError(f"The server is overloaded: {why}. Please retry in {retry} s.", retry_after_seconds=retry)

    # The engine thread.

    def _work(self) -> None:
        while not self._ended:
            try:
                finished = self._pipeline.turn(self._next)
            except RuntimeError as error:
                self._shrink(error)
                continue
            if finished is not None:
                self._give(*finished)
            elif not self._pipeline.flights:
                with self._wake:
                    if not self._ended and self._queue.empty:
                        self._wake.wait(timeout=0.5)

    def _next(self) -> Batch | None:
        # Two rows in flight are there to keep the device busy, not to put seconds of work before a new query.
        in_flight = sum(flight.batch.row.shape.row for flight in self._pipeline.flights)
        room = 2 * self._table.row - in_flight if in_flight else sys.maxsize
        batch = self._queue.take(self._table, self._is_settled, room)
        if batch is not None:
            self._count(batch, -1)
        return batch

    def _is_settled(self, job: Job) -> bool:
        """Whether nobody waits for a job any more; one whose deadline has passed is told so."""
        if not job.settled and job.future.done():
            self._close([job], "cancelled")
        elif not job.settled and job.deadline is not None and time.monotonic() > job.deadline:
            waited = time.monotonic() - job.arrived
            self._fail([job], DeadlineError(f"The deadline passed after {waited:.1f} s in the queue."), "deadline")
        return job.settled

    def _count(self, batch: Batch, sign: int) -> None:
        """Takes the texts of a row out of those that wait, or puts them back."""
        with self._wake:
            for job, index in batch.items():
                if not job.settled:
                    tokens = sign * len(job.texts[index].ids)
                    job.waiting_tokens += tokens
                    self._waiting[job.lane] += tokens

    def _give(self, flight: Flight[Batch], results: Sequence[np.ndarray]) -> None:
        """Gives the results of a row to the jobs of its texts."""
        self.stats.count_row(flight.batch.row, flight.began, time.monotonic())
        done = []
        for (job, index), result in zip(flight.batch.items(), results, strict=True):
            job.results[index] = result
            job.missing -= 1
            if not job.missing and not job.settled:
                done.append(job)
        if done:
            self._close(done, "done")
            self._deliver(done)
        self.error = None  # a device that was silent has answered
        self._regrow()

    # Out of memory.

    def _shrink(self, error: RuntimeError) -> None:
        """Plans the texts of a row that did not fit anew, in rows of half the size. Raises any other error again."""
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise error
        batch = self._pipeline.drop().batch
        longest = max(len(job.texts[index].ids) for job, index in batch.items())
        smaller = batch.row.shape.row // 2
        if smaller < max(planning.ceiling(longest), self._table.smallest):
            message = f"The device has no memory for a text of {longest} tokens."
            self._fail({job for job, _ in batch.items()}, EngineError(message, retry_after_seconds=10), "memory")
            return
        logger.warning("out of memory with a row of %d tokens: going on with rows of %d", batch.row.shape.row, smaller)
        self._table = replace(self._table, row=smaller, cell=min(self._table.cell, smaller))
        self.stats.halvings += 1
        self._rows_since_halving = 0
        self._count(batch, 1)
        self._queue.put_back(batch)

    def _regrow(self) -> None:
        """Doubles a halved row once many rows have run without trouble."""
        full = self._runner.table
        if self._table.row < full.row:
            self._rows_since_halving += 1
            if self._rows_since_halving >= ROWS_UNTIL_REGROWN:
                self._rows_since_halving = 0
                self._table = replace(full, row=2 * self._table.row, cell=min(full.cell, 2 * self._table.row))

    # Supervision.

    def _start_worker(self) -> None:
        self._worker = threading.Thread(target=self._guarded, name="jaxembed-engine", daemon=True)
        self._worker.start()

    def _guarded(self) -> None:
        try:
            self._work()
        except Exception as error:
            # Whatever it was: the supervisor fails what was in flight and tries again.
            self.error = _described(error)
            logger.exception("the engine thread crashed")

    def _supervise(self) -> None:
        while not self._has_ended():
            self._worker.join(timeout=_LOOK_SECONDS)
            if self._has_ended():
                return
            if self._worker.is_alive():
                self._check_stall()
                continue
            self._fail_in_flight()
            pause = _LOOK_SECONDS
            while not self._has_ended() and not self._restart(pause):
                with self._wake:
                    self._wake.wait_for(self._has_ended, timeout=pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _has_ended(self) -> bool:
        return self._ended

    def _check_stall(self) -> None:
        in_flight = list(self._pipeline.flights)
        if in_flight and self.error is None and time.monotonic() - in_flight[0].began > self._stall:
            self.error = f"the device has not answered for {self._stall:g} s"
            logger.error("%s; what waits fails", self.error)
            self._next_look = time.monotonic() + _LONGEST_PAUSE_SECONDS
            error = EngineError(f"The engine is not available: {self.error}.", retry_after_seconds=self._until_next_look())
            self._fail(self._jobs, error, "stall")

    def _fail_in_flight(self) -> None:
        """Fails what was in flight when the engine thread ended; what waits may yet be served."""
        self.error = self.error or "its thread ended"
        self.stats.crashes += 1
        in_flight = {job for flight in self._pipeline.flights for job, _ in flight.batch.items()}
        self._fail(in_flight, EngineError(f"The engine failed: {self.error}.", retry_after_seconds=1), "crash")
        self._pipeline.flights.clear()
        self._forget_settled()

    def _restart(self, pause: float) -> bool:
        """Tries a text, and starts a new thread if that went well. Otherwise what waits fails; `pause` says until when."""
        try:
            (row,) = planning.plan([len(self._probe.ids)], self._runner.table)
            self._runner.finish(EMBED, row, [self._probe], self._runner.start(EMBED, row, [self._probe]))
        except BaseException as error:  # noqa: BLE001 - as above: whatever it was, the engine is not back
            self.error, self._next_look = _described(error), time.monotonic() + pause
            logger.error("the engine is not back: %s", self.error)
            refusal = EngineError(f"The engine is not available: {self.error}.", retry_after_seconds=self._until_next_look())
            self._fail(self._jobs, refusal, "crash")
            self._forget_settled()
            return False
        logger.warning("the engine is back")
        self.error = None
        self._start_worker()
        return True

    def _forget_settled(self) -> None:
        """Drops waiting texts of settled jobs; only while no engine thread runs."""
        with self._wake:
            self._queue.keep(lambda job: not job.settled)

    def _fail(self, jobs: Iterable[Job], error: Exception, reason: str) -> None:
        with self._wake:
            failed = [job for job in jobs if not job.settled]
            for job in failed:
                job.error = error
            self._close(failed, reason)
        if failed:
            self._deliver(failed)

    def _close(self, jobs: Sequence[Job], reason: str) -> None:
        with self._wake:
            for job in jobs:
                job.settled = True
                self._waiting[job.lane] -= job.waiting_tokens
            self._jobs.difference_update(jobs)
        self.stats.ended[reason] += len(jobs)


def _described(error: BaseException) -> str:
    first = str(error).strip().splitlines()[:1]
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
