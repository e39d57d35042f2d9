"""Signals under load: nobody who was taken is left without an answer."""

import asyncio
import signal
import threading
import time

import pytest
from amounts import nightly
from crowd import open_loop, request
from overload import BODY
from processes import free_port


@pytest.mark.abuse
@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=nightly), signal.SIGHUP])
def test_a_signal_under_load_loses_no_accepted_request(start, amount, show, number):
    port = free_port()
    server = start("--port", port, "--disable-uvicorn-access-log", "--max-wait-seconds", "5")
    server.wait_ready()
    threading.Timer(amount(5, 2), lambda: server.process.send_signal(number)).start()
    seen, _ = asyncio.run(open_loop(int(port), request(BODY), per_second=60, seconds=amount(15, 5)))
    assert server.process.wait(60) == 0
    statuses = {one.status for one in seen}
    show(statuses={status: sum(one.status == status for one in seen) for status in sorted(statuses)})
    assert statuses <= {0, 200, 429, 503}
    assert 200 in statuses
    # A connection that broke was one that was never taken, or was idle: nobody waited on it for an answer.
    assert all(one.seconds < 1 for one in seen if one.status == 0)
    assert all("retry-after" in one.headers for one in seen if one.status in (429, 503))


@pytest.mark.abuse
def test_two_interrupts_under_load_end_it_at_once_with_answers(start, amount, show):
    port = free_port()
    server = start("--port", port, "--disable-uvicorn-access-log", "--max-wait-seconds", "60")
    server.wait_ready()
    struck = []

    def strike() -> None:
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        struck.append(time.monotonic())
        server.process.send_signal(signal.SIGINT)

    threading.Timer(amount(5, 2), strike).start()
    seen, _ = asyncio.run(open_loop(int(port), request(BODY), per_second=60, seconds=amount(12, 5)))
    assert server.process.wait(60) == 130
    show(statuses={status: sum(one.status == status for one in seen) for status in sorted({one.status for one in seen})})
    assert {one.status for one in seen} <= {0, 200, 429, 503}
    assert all(one.seconds < 1 for one in seen if one.status == 0)
    assert all("retry-after" in one.headers for one in seen if one.status == 503)
    assert "Traceback" not in server.output
