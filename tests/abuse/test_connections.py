"""Connections that ask for nothing: idle ones, half heads and heads without end, thousands at a time."""

import pytest
from amounts import nightly
from pressure import flooded
from processes import free_port


@pytest.mark.abuse
def test_ten_thousand_connections_neither_shut_out_health_nor_take_memory(start, amount, show):
    port = free_port()
    server = start("--port", port, "--disable-uvicorn-access-log")
    server.wait_ready()
    seen = flooded(server, int(port), amount(10_000, 2_000), amount(12, 4))
    show(**seen)
    assert seen["answers"] == {b"200"}
    assert seen["p99_ms"] < 250
    assert seen["grown_mib"] < 100
    assert "Traceback" not in server.output
    assert server.end() == 0


@nightly
@pytest.mark.abuse
def test_more_connections_than_are_served_do_not_shut_out_health(start, amount, show):
    port = free_port()
    server = start("--port", port, "--max-connections", "200", "--disable-uvicorn-access-log")
    server.wait_ready()
    seen = flooded(server, int(port), amount(5_000, 1_000), 5)
    show(**seen)
    assert seen["answers"] == {b"200"}
    assert seen["grown_mib"] < 50
    assert server.end() == 0
