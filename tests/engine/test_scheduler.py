"""What the scheduler promises: whole requests, fair turns, honest refusals, and an answer whatever happens to the engine."""

import ctypes
import threading
import time
from concurrent.futures import CancelledError, Future

import numpy as np
import pytest
from fakes import FakeRunner

from jaxembed.engine.scheduler import Scheduler, settle
from jaxembed.errors import DeadlineError, EngineError, OverloadedError, StoppedError
from jaxembed.heads.tokens import TOKEN_EMBED
from jaxembed.heads.vectors import EMBED
from jaxembed.packing.text import Text

LIMIT = 10  # seconds after which a test calls it a hang


def text(first: int, length: int = 4) -> Text:
    return Text(np.full(length, first, np.int32))


@pytest.fixture
def make():
    """Makes a started scheduler over a fake engine."""
    made = []

    def build(runner=None, **options) -> Scheduler:
        made.append(Scheduler(runner or FakeRunner(), **options))
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


def until(fact, seconds: float = LIMIT) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def test_each_request_gets_its_own_results_in_its_own_order(make):
    scheduler = make(max_wait_seconds=1e9)
    rng = np.random.RandomState(0)
    futures, expected = [], []
    for _ in range(200):
        texts = [text(rng.randint(1, 99), rng.randint(1, 65)) for _ in range(rng.randint(1, 40))]
        futures.append(ask(scheduler, *texts))
        expected.append([[one.ids.sum(), len(one.ids)] for one in texts])
    for future, wanted in zip(futures, expected, strict=True):
        np.testing.assert_array_equal(np.array(future.result(LIMIT)), np.array(wanted))
    assert scheduler.waiting_tokens == scheduler.tokens_in_flight == scheduler.open_requests == 0
    assert scheduler.stats.texts == sum(map(len, expected))
    assert scheduler.stats.padding_ratio < 0.25


def test_one_long_document_does_not_stall_short_queries(make):
    """64 rows of bulk work wait; a query overtakes all but those in flight."""
    runner = FakeRunner(tokens_per_second=64 / 0.005)
    scheduler = make(runner)
    bulk = ask(scheduler, *[text(1, 64)] * 64)
    until(lambda: len(runner.rows) > 2)
    query = ask(scheduler, text(2))
    query.result(LIMIT)
    assert not bulk.done()
    assert runner.rows.index([2]) <= 12
    bulk.result(LIMIT)


def test_bulk_work_gets_its_share_while_queries_never_end(make):
    runner = FakeRunner()
    scheduler = make(runner)
    runner.gate.clear()
    first = ask(scheduler, text(9, 64))
    until(lambda: runner.rows)
    bulk = ask(scheduler, *[text(1, 64)] * 20)
    queries = [ask(scheduler, text(2, 64)) for _ in range(200)]
    runner.gate.set()
    for future in (first, bulk, *queries):
        future.result(LIMIT)
    kinds = [row[0] for row in runner.rows if row[0] != 9]
    last_bulk = len(kinds) - kinds[::-1].index(1)
    assert 0.2 <= kinds[:last_bulk].count(1) / last_bulk <= 0.3


def test_requests_of_one_lane_are_served_in_order_of_arrival(make):
    runner = FakeRunner()
    scheduler = make(runner)
    runner.gate.clear()
    futures = [ask(scheduler, text(number, 64)) for number in range(1, 30)]
    runner.gate.set()
    for future in futures:
        future.result(LIMIT)
    order = [row[0] for row in runner.rows]
    assert all(abs(place + 1 - number) <= 1 for place, number in enumerate(order))


def test_priority_overrules_size(make):
    runner = FakeRunner()
    scheduler = make(runner)
    runner.gate.clear()
    futures = [ask(scheduler, text(9, 64)), ask(scheduler, text(8, 64))]
    until(lambda: len(runner.rows) == 2)
    futures += [ask(scheduler, text(1, 64), priority=1), ask(scheduler, *[text(2, 64)] * 2, priority=-1)]
    runner.gate.set()
    for future in futures:
        future.result(LIMIT)
    assert [row[0] for row in runner.rows[2:]] == [2, 2, 1]


def test_tasks_are_never_mixed_in_a_row(make):
    runner = FakeRunner()
    scheduler = make(runner)
    runner.gate.clear()
    futures = [ask(scheduler, text(1 + n % 2), task=(EMBED, TOKEN_EMBED)[n % 2]) for n in range(20)]
    runner.gate.set()
    for future in futures:
        future.result(LIMIT)
    assert all(len(set(row)) == 1 for row in runner.rows)


def test_a_request_is_refused_whole_with_the_time_to_wait(make):
    runner = FakeRunner(tokens_per_second=1000)
    scheduler = make(runner, max_queue_tokens=640)
    for _ in range(2):
        ask(scheduler, text(1, 64)).result(LIMIT)  # now the rate is known
    runner.gate.clear()
    taken = [ask(scheduler, *[text(1, 64)] * 10) for _ in range(1)]
    until(lambda: len(runner.rows) == 4)
    with pytest.raises(OverloadedError, match="overloaded: 512 tokens wait and the queue holds 640") as refusal:
        ask(scheduler, *[text(2, 64)] * 3)
    assert 1 <= refusal.value.retry_after_seconds <= 2
    taken.append(ask(scheduler, *[text(3, 64)] * 2))  # exactly full is not too full
    runner.gate.set()
    for future in taken:
        future.result(LIMIT)
    assert scheduler.stats.shed["queue_full"] == 1
    assert not any(2 in row for row in runner.rows)


def test_a_request_that_finds_nothing_before_it_is_taken_however_large(make):
    scheduler = make(max_queue_tokens=10)
    assert len(ask(scheduler, *[text(1, 64)] * 5).result(LIMIT)) == 5


def test_a_wait_that_is_too_long_is_refused_before_it_begins(make):
    runner = FakeRunner(tokens_per_second=640)
    scheduler = make(runner, max_wait_seconds=1.0)
    for _ in range(2):
        ask(scheduler, text(1, 64)).result(LIMIT)
    runner.gate.clear()
    ask(scheduler, *[text(1, 64)] * 30)
    until(lambda: scheduler.tokens_in_flight == 128)
    assert scheduler.predicted_wait_seconds() == pytest.approx(3, rel=0.2)
    with pytest.raises(OverloadedError, match="the wait would be") as refusal:
        ask(scheduler, *[text(2, 64)] * 2)
    assert refusal.value.retry_after_seconds in (2, 3)
    with pytest.raises(OverloadedError, match="the wait would be"):
        scheduler.admit(1000)
    ask(scheduler, text(3))  # a query does not wait for the bulk lane
    assert scheduler.stats.shed["wait"] == 2


def test_a_deadline_that_cannot_be_kept_is_refused_and_one_that_passed_is_told(make):
    runner = FakeRunner(tokens_per_second=640)
    scheduler = make(runner)
    for _ in range(2):
        ask(scheduler, text(1, 64)).result(LIMIT)
    runner.gate.clear()
    blocking = [ask(scheduler, *[text(1, 64)] * 2)]
    until(lambda: scheduler.tokens_in_flight == 128)
    with pytest.raises(OverloadedError, match="the deadline is"):
        ask(scheduler, text(2, 64), deadline_seconds=0.1)
    late = ask(scheduler, text(3, 4), deadline_seconds=0.3)
    time.sleep(0.35)
    runner.gate.set()
    with pytest.raises(DeadlineError, match="deadline passed after"):
        late.result(LIMIT)
    blocking[0].result(LIMIT)
    assert not any(3 in row for row in runner.rows)
    until(lambda: scheduler.open_requests == 0)
    assert scheduler.waiting_tokens == 0


def test_a_request_whose_client_hung_up_never_runs(make):
    runner = FakeRunner()
    scheduler = make(runner)
    runner.gate.clear()
    blocking = [ask(scheduler, text(9, 64)) for _ in range(2)]
    until(lambda: len(runner.rows) == 2)
    gone, kept = ask(scheduler, *[text(1, 32)] * 5), ask(scheduler, *[text(2, 32)] * 5)
    assert gone.cancel()
    runner.gate.set()
    assert len(kept.result(LIMIT)) == 5
    for future in blocking:
        future.result(LIMIT)
    assert not any(1 in row for row in runner.rows)
    with pytest.raises(CancelledError):
        gone.result()
    until(lambda: scheduler.open_requests == 0)
    assert scheduler.waiting_tokens == 0
    assert scheduler.stats.ended["cancelled"] == 1


def test_a_crash_fails_what_runs_within_a_second_and_what_waits_is_served(make):
    runner = FakeRunner()
    scheduler = make(runner)

    def crash(row):
        if [77] in runner.rows[-1:]:
            runner.fail = None
            raise ValueError("the device is on fire")

    runner.fail = crash
    runner.gate.clear()
    first = ask(scheduler, text(1, 64))
    until(lambda: runner.rows)
    flying, broken = ask(scheduler, text(2, 64)), ask(scheduler, text(77, 64))
    behind = ask(scheduler, *[text(5, 64)] * 3)
    begin = time.monotonic()
    runner.gate.set()
    for future in (flying, broken):
        with pytest.raises(EngineError, match="ValueError: the device is on fire"):
            future.result(LIMIT)
    assert time.monotonic() - begin < 1
    first.result(LIMIT)
    assert len(behind.result(LIMIT)) == 3
    assert scheduler.error is None
    assert scheduler.stats.crashes == 1


def test_while_the_engine_stays_down_requests_are_refused_and_recovery_goes_on(make):
    runner = FakeRunner()
    scheduler = make(runner)

    def broken(row):
        raise OSError("no device")

    runner.fail = broken
    with pytest.raises(EngineError, match="OSError: no device"):
        ask(scheduler, text(1)).result(LIMIT)
    assert scheduler.error == "OSError: no device"
    with pytest.raises(EngineError, match=r"not available: OSError: no device\.") as refusal:
        ask(scheduler, text(1))
    assert refusal.value.retry_after_seconds > 0
    runner.fail = None
    until(lambda: scheduler.error is None)
    assert len(ask(scheduler, text(1)).result(LIMIT)) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_killed_engine_thread_is_replaced(make):
    runner = FakeRunner()
    scheduler = make(runner)
    runner.gate.clear()
    flying = ask(scheduler, text(1))
    until(lambda: runner.rows)
    victim = scheduler._worker
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(victim.ident), ctypes.py_object(SystemExit)) == 1
    runner.gate.set()
    with pytest.raises(EngineError, match="its thread ended"):
        flying.result(LIMIT)
    until(lambda: scheduler.error is None)
    assert scheduler._worker is not victim
    assert len(ask(scheduler, text(1)).result(LIMIT)) == 1


def test_a_silent_device_fails_what_waits_and_is_trusted_again_when_it_answers(make):
    runner = FakeRunner()
    scheduler = make(runner, stall_seconds=0.3)
    runner.gate.clear()
    waiting = [ask(scheduler, text(1)), ask(scheduler, *[text(2, 64)] * 5)]
    for future in waiting:
        with pytest.raises(EngineError, match=r"has not answered for 0\.3 s"):
            future.result(LIMIT)
    assert scheduler.error is not None
    runner.gate.set()
    until(lambda: scheduler.error is None)
    assert len(ask(scheduler, text(1)).result(LIMIT)) == 1
    assert scheduler.waiting_tokens == scheduler.open_requests == 0


def test_out_of_memory_halves_the_row_and_retries(make):
    runner = FakeRunner()
    scheduler = make(runner)
    sizes = []

    def small_memory(row):
        sizes.append(row.shape.row)
        if row.shape.row > 32:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes")

    runner.fail = small_memory
    futures = [ask(scheduler, *[text(number, 16)] * 9) for number in (1, 2)]
    for number, future in zip((1, 2), futures, strict=True):
        np.testing.assert_array_equal(np.array(future.result(LIMIT)), [[16 * number, 16]] * 9)
    assert max(sizes) == 64
    assert set(sizes[-6:]) <= {16, 32}
    with pytest.raises(EngineError, match="no memory for a text of 60 tokens"):
        ask(scheduler, text(1, 60)).result(LIMIT)
    assert scheduler.stats.crashes == 0
    assert scheduler.waiting_tokens == scheduler.open_requests == 0


def test_a_halved_row_grows_back(make, monkeypatch):
    monkeypatch.setattr("jaxembed.engine.scheduler.ROWS_UNTIL_REGROWN", 5)
    runner = FakeRunner()
    scheduler = make(runner)
    sizes = []

    def once(row):
        sizes.append(row.shape.row)
        if sizes == [64]:
            raise RuntimeError("RESOURCE_EXHAUSTED")

    runner.fail = once
    assert len(ask(scheduler, *[text(1, 16)] * 40).result(LIMIT)) == 40
    assert sizes.count(32) >= 5
    assert sizes[-2] == 64


def test_draining_serves_what_was_taken_and_stopping_fails_the_rest(make):
    runner = FakeRunner()
    scheduler = make(runner)
    runner.gate.clear()
    taken = ask(scheduler, text(1))
    scheduler.drain()
    with pytest.raises(StoppedError, match="shutting down"):
        ask(scheduler, text(2))
    runner.gate.set()
    assert len(taken.result(LIMIT)) == 1


def test_stopping_fails_what_is_left_and_ends_both_threads(make):
    runner = FakeRunner(tokens_per_second=640)
    scheduler = make(runner)
    left = ask(scheduler, *[text(1, 64)] * 50)
    until(lambda: runner.rows)
    scheduler.stop()
    with pytest.raises(StoppedError, match="stopped before"):
        left.result(LIMIT)
    assert not scheduler._worker.is_alive()
    assert not scheduler._supervisor.is_alive()


def test_results_of_a_row_are_delivered_together(make):
    """One hop to the event loop for a row, however many requests it answers."""
    deliveries = []

    def deliver(jobs):
        deliveries.append(len(jobs))
        settle(jobs)

    runner = FakeRunner()
    scheduler = make(runner, deliver=deliver)
    runner.gate.clear()
    first = ask(scheduler, text(9, 64)), ask(scheduler, text(9, 64))
    until(lambda: len(runner.rows) == 2)
    futures = [*first, *[ask(scheduler, text(1)) for _ in range(16)]]
    runner.gate.set()
    for future in futures:
        future.result(LIMIT)
    assert deliveries == [1, 1, 16]


def test_requests_from_many_threads_are_all_answered(make):
    scheduler = make()
    wrong = []

    def work(number: int) -> None:
        for turn in range(50):
            (vector,) = ask(scheduler, text(number, 1 + turn)).result(LIMIT)
            if vector.tolist() != [number * (1 + turn), 1 + turn]:
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert not wrong
    assert scheduler.stats.ended["done"] == 400
