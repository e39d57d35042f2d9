"""A server on a socket of its own in this process, over an engine that may be a fake, and bare connections to it."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

from jaxembed.server.listen import Listen
from jaxembed.server.run import Server, configured
from jaxembed.server.service import Service
from jaxembed.server.settings import Settings


@contextmanager
def listening(llm, *, runner=None, **settings):
    """A server that listens; it has `port` and `service`."""
    service = Service(llm, Settings(**settings), runner=runner)
    taken = Listen(port=0).bind()
    ready = threading.Event()
    server = Server(configured(service, Listen(), "warning"), service, ready.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True)
    server.port, server.service = taken.getsockname()[1], service
    thread.start()
    assert ready.wait(20)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(20)
        taken.close()
        assert not thread.is_alive()


@contextmanager
def connected(port: int):
    """A connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as one:
        yield one


def say(port: int, *pieces: bytes, pause: float = 0.0, limit: float = 20) -> tuple[bytes, float]:
    """Sends pieces on a new connection and returns all that comes until the server closes it, and the seconds that took."""
    begin = time.monotonic()
    with connected(port) as one:
        with suppress(OSError):
            for piece in pieces:
                one.sendall(piece)
                time.sleep(pause)
        return everything(one, begin + limit), time.monotonic() - begin


def everything(one: socket.socket, end: float) -> bytes:
    """Returns what comes until the other side closes."""
    found = []
    while True:
        left = end - time.monotonic()
        assert left > 0, f"not closed, after {b''.join(found)[:500]!r}"
        one.settimeout(left)
        try:
            data = one.recv(1 << 16)
        except TimeoutError:
            continue
        except OSError:
            return b"".join(found)
        if not data:
            return b"".join(found)
        found.append(data)
