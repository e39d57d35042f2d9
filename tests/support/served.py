"""Servers in this process, for tests."""

from contextlib import contextmanager

from fastapi.testclient import TestClient

from jaxembed.server.app import create_app
from jaxembed.server.service import Service
from jaxembed.server.settings import Settings


@contextmanager
def served(llm, *, runner=None, **settings):
    """A client of a running application; what it raises inside comes out as an answer, as over a socket."""
    service = Service(llm, Settings(**settings), runner=runner)
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        client.service = service
        yield client
