"""Overload, a few seconds of it: the only answers are 200 and 429, and nothing hangs. `make abuse` goes on for minutes."""

from overload import check, overload
from pressure import flooded
from processes import free_port


def test_a_short_overload_is_answered_with_200_and_429_only(start):
    """Little is asked of the rate here, because a few seconds on a busy machine say little about rates."""
    check(overload(start, slices=1, seconds=6, saturation_seconds=3), least_goodput=0.4)


def test_a_thousand_connections_that_ask_for_nothing_cost_little(start):
    port = free_port()
    server = start("--port", port, "--disable-uvicorn-access-log")
    server.wait_ready()
    seen = flooded(server, int(port), 1000, 3)
    assert seen["answers"] == {b"200"}, seen
    assert seen["p99_ms"] < 1000, seen  # a busy machine; 250 in the abuse suite
    assert seen["grown_mib"] < 30, seen
    assert server.end() == 0
