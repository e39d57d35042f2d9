"""What a request is told about its wait is what it gets: in each lane, with deadlines, and while an engine is gone."""

import random
import threading
import time
from concurrent.futures import Future
from contextlib import suppress

import numpy as np
import pytest
from fakes import FakeRunner

from jaxembed.engine.scheduler import Scheduler
from jaxembed.errors import DeadlineError, EngineError, OverloadedError
from jaxembed.packing.text import Text

RATE = 6400


def text(length: int) -> Text:
    return Text(np.ones(length, np.int32))


@pytest.fixture
def make():
    made = []

    def build(runner=None, **options) -> Scheduler:
        made.append(Scheduler(runner or FakeRunner(tokens_per_second=RATE), **options))
        made[-1].start()
        return made[-1]

    yield build
    for scheduler in made:
        scheduler._runner.gate.set()
        scheduler.stop()


def ask(scheduler, *texts, **options) -> Future:
    future = Future()
    scheduler.submit(texts, future, **options)
    return future


def learned(scheduler) -> Scheduler:
    """Lets it learn its rate."""
    for _ in range(4):
        ask(scheduler, text(64)).result(10)
    return scheduler


def offer(scheduler, *, seconds: float, quick: float, bulk: float, deadline: float) -> tuple[list, list, int]:
    """Offers each lane so many times what the engine can do. Returns the waits of each lane, and how many were refused."""
    rng, begin, refused = random.Random(0), time.monotonic(), 0
    waits = {"quick": [], "bulk": []}
    lock = threading.Lock()
    sizes = {"quick": ([text(32)], quick), "bulk": ([text(64)] * 10, bulk)}
    due = dict.fromkeys(sizes, begin)
    open_ = []
    while time.monotonic() - begin < seconds:
        lane = min(due, key=due.get)
        time.sleep(max(0.0, due[lane] - time.monotonic()))
        texts, load = sizes[lane]
        tokens = sum(len(one.ids) for one in texts)
        due[lane] += rng.expovariate(load * RATE / tokens)
        asked = time.monotonic()

        def note(future, lane=lane, asked=asked) -> None:
            with lock:
                waits[lane].append((time.monotonic() - asked, future.exception()))

        try:
            future = ask(scheduler, *texts, deadline_seconds=deadline)
        except OverloadedError:
            refused += 1
            continue
        future.add_done_callback(note)
        open_.append(future)
    for future in open_:
        with suppress(DeadlineError):
            future.result(30)
    return waits["quick"], waits["bulk"], refused


def test_both_lanes_keep_their_promise_under_four_times_the_load(make):
    scheduler = learned(make(max_wait_seconds=1.0))
    quick, bulk, refused = offer(scheduler, seconds=8, quick=2.5, bulk=1.5, deadline=3.0)
    assert refused > 20
    assert len(quick) > 50
    assert len(bulk) > 3
    # Nothing that was taken missed its deadline, and waits are what was promised beside the time that its own texts take.
    assert not [error for _, error in (*quick, *bulk) if error is not None]
    own = 640 / RATE / 0.25
    slow = 2.0  # a busy machine
    assert sorted(wait for wait, _ in quick)[int(0.99 * len(quick))] < slow * 1.0
    assert sorted(wait for wait, _ in bulk)[int(0.99 * len(bulk))] < slow * (1.0 + own)


def test_bulk_work_counts_on_its_share_while_queries_keep_coming(make):
    runner = FakeRunner(tokens_per_second=RATE)
    scheduler = learned(make(runner, max_wait_seconds=1e9))
    runner.gate.clear()
    bulk = ask(scheduler, *[text(64)] * 100)
    while scheduler.tokens_in_flight < 128:
        time.sleep(0.001)
    alone = scheduler.predicted_wait_seconds("bulk")
    assert alone == pytest.approx(6400 / RATE, rel=0.3)
    queries = [ask(scheduler, text(32)) for _ in range(10)]
    assert scheduler.predicted_wait_seconds("bulk") == pytest.approx(4 * alone, rel=0.3)
    assert scheduler.predicted_wait_seconds("quick") < 0.2
    runner.gate.set()
    for future in (bulk, *queries):
        future.result(30)


def test_queries_of_a_moment_ago_count_although_none_waits(make):
    scheduler = learned(make())
    scheduler.stats.count_quick(int(RATE * 0.5 * 10), time.monotonic())
    assert scheduler._share("bulk", RATE) == pytest.approx(0.5, abs=0.05)
    scheduler.stats.count_quick(RATE * 100, time.monotonic())
    assert scheduler._share("bulk", RATE) == 0.25
    assert scheduler.stats.quick_tokens_per_second(time.monotonic() + 100) < 10


def test_what_cannot_meet_its_deadline_is_refused_although_nothing_is_before_it(make):
    scheduler = learned(make())
    with pytest.raises(OverloadedError, match="send fewer texts"):
        ask(scheduler, *[text(64)] * 1000, deadline_seconds=1.0)
    with pytest.raises(OverloadedError, match="the deadline is 1 s"):
        scheduler.admit(64_000, deadline_seconds=1.0)
    assert len(ask(scheduler, *[text(64)] * 20, deadline_seconds=1.0).result(10)) == 20


def test_the_rate_of_single_queries_is_not_held_against_a_large_request(make):
    """A row of two tokens takes as long as one of 64 here."""

    class Fixed(FakeRunner):
        def finish(self, task, row, texts, output):
            time.sleep(0.01)
            return [np.zeros(2, np.float32) for _ in row.texts]

    scheduler = learned(make(Fixed(), max_wait_seconds=1e9))
    for _ in range(100):
        ask(scheduler, text(2)).result(10)
    assert scheduler.stats.tokens_per_second < 1000
    assert len(ask(scheduler, *[text(64)] * 50, deadline_seconds=2.0).result(10)) == 50


def test_each_lane_may_have_a_longest_wait_of_its_own(make):
    runner = FakeRunner(tokens_per_second=RATE)
    scheduler = learned(make(runner, max_wait_seconds=0.5, max_bulk_wait_seconds=3.0))
    runner.gate.clear()
    taken = [ask(scheduler, *[text(64)] * 200)]

    def fill() -> None:
        for _ in range(500):
            taken.append(ask(scheduler, text(32)))

    with pytest.raises(OverloadedError, match=r"may be 0\.5 s"):
        fill()
    runner.gate.set()
    for future in taken:
        future.result(30)


def test_an_engine_that_is_gone_is_looked_for_every_few_seconds_and_retry_after_says_when(make, monkeypatch):
    monkeypatch.setattr("jaxembed.engine.scheduler._LONGEST_PAUSE_SECONDS", 0.5)
    runner = FakeRunner()
    scheduler = make(runner)
    looks = []

    def broken(row):
        looks.append(time.monotonic())
        raise OSError("no device")

    runner.fail = broken
    with pytest.raises(EngineError):
        ask(scheduler, text(1)).result(10)
    time.sleep(4)
    gaps = np.diff(looks)
    assert max(gaps) < 1.0
    assert len(looks) >= 7
    with pytest.raises(EngineError) as refusal:
        ask(scheduler, text(1))
    # The next look, and a second for the probe itself.
    assert 1.0 <= refusal.value.retry_after_seconds <= 1.5
    runner.fail, gone = None, time.monotonic()
    while scheduler.error is not None:
        time.sleep(0.01)
        assert time.monotonic() - gone < refusal.value.retry_after_seconds
    assert len(ask(scheduler, text(1)).result(10)) == 1


def test_no_pause_is_longer_than_five_seconds():
    from jaxembed.engine import scheduler

    assert scheduler._LONGEST_PAUSE_SECONDS <= 5


def test_a_panic_of_the_probe_does_not_end_the_looking(make):
    class Panic(BaseException):
        pass

    runner = FakeRunner()
    scheduler = make(runner)
    failures = iter([OSError("gone"), Panic("panic"), Panic("panic")])

    def broken(row):
        error = next(failures, None)
        if error is not None:
            raise error

    runner.fail = broken
    with pytest.raises(EngineError):
        ask(scheduler, text(1)).result(10)
    end = time.monotonic() + 10
    while scheduler.error is not None:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert len(ask(scheduler, text(1)).result(10)) == 1
