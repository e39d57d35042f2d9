"""How a server ends: what is open is answered, by its vectors or by a 503 that says so, and the status says how it went."""

import asyncio
import signal
import socket
import threading
import time

import httpx2 as httpx
import pytest
from crowd import Client, Seen, request
from listening import everything
from processes import free_port

TEXT = "The quick brown fox jumps over the lazy dog near the bank of the river where it drank. " * 4


class Asking:
    """A request that a thread waits for, taken by the server already."""

    def __init__(self, port: str, texts: int) -> None:
        self.answers: list[Seen] = []
        message = request({"input": [TEXT] * texts, "encoding_format": "base64"})
        self._thread = threading.Thread(target=lambda: self.answers.append(asyncio.run(Client(int(port)).ask(message))))
        self._thread.start()
        end = time.monotonic() + 20
        while not httpx.get(f"http://127.0.0.1:{port}/load").json()["server_load"] and time.monotonic() < end:
            time.sleep(0.01)

    def answer(self) -> Seen:
        self._thread.join(30)
        return self.answers[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_drains_and_what_is_not_done_by_then_gets_a_503(start, number):
    port = free_port()
    server = start("--port", port, "--drain-seconds", "1", "--max-wait-seconds", "600", "--request-timeout-seconds", "600")
    server.wait_ready()
    asking = Asking(port, 2000)
    begin = time.monotonic()
    assert server.end(number, timeout=30) == 0
    assert time.monotonic() - begin < 15
    answer = asking.answer()
    assert answer.status == 503
    assert "retry-after" in answer.headers
    assert b"stopped before the request was done" in answer.body
    assert "Traceback" not in server.output


def test_sighup_lets_what_is_open_finish(start):
    port = free_port()
    server = start("--port", port)
    server.wait_ready()
    asking = Asking(port, 100)
    assert server.end(signal.SIGHUP, timeout=60) == 0
    assert asking.answer().status == 200


def test_a_second_sigint_ends_the_drain_with_a_503_for_everything_that_is_open(start):
    port = free_port()
    server = start("--port", port, "--max-wait-seconds", "600", "--request-timeout-seconds", "600")
    server.wait_ready()
    asking = [Asking(port, 2000) for _ in range(3)]
    with socket.create_connection(("127.0.0.1", int(port))) as half:
        half.sendall(request({"input": "a"})[:-5])  # the rest of its body never comes
        time.sleep(0.3)
        server.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        begin = time.monotonic()
        assert server.end(signal.SIGINT, timeout=30) == 130
        assert time.monotonic() - begin < 10
        raw = everything(half, time.monotonic() + 5)
    assert raw.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 5" in raw
    assert b'"ServiceUnavailableError"' in raw
    for each in asking:
        assert each.answer().status == 503
        assert "retry-after" in each.answer().headers
    for word in ("Traceback", "terminate called", "Exception"):
        assert word not in server.output
