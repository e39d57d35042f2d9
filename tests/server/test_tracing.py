"""OpenTelemetry: a span for each request that goes in, and nothing at all where no endpoint is given."""

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

from fastapi.testclient import TestClient
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from refusals import refused

from jaxembed.server.app import create_app
from jaxembed.server.service import Service
from jaxembed.server.settings import Settings
from jaxembed.server.tracing import Tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_each_request_is_a_span_in_the_callers_trace(llm):
    kept = InMemorySpanExporter()
    app = create_app(Service(llm, Settings(api_keys=("secret",))), tracing=Tracing(exporter=kept))
    with TestClient(app, headers={"authorization": "Bearer secret"}) as client:
        client.post("/v1/embeddings", json={"input": "a"}, headers={"traceparent": PARENT})
        client.post("/v1/embeddings", json={"input": "a", "dimensions": 7})
        client.get("/v1/models", headers={"authorization": "Bearer wrong"})
    found = kept.get_finished_spans()
    assert [span.name for span in found] == ["POST /v1/embeddings"] * 2
    first, second = found
    assert format(first.context.trace_id, "032x") == "0af7651916cd43dd8448eb211c80319c"
    assert format(first.parent.span_id, "016x") == "b7ad6b7169203331"
    assert second.parent is None
    assert [span.attributes["http.response.status_code"] for span in found] == [200, 400]
    assert first.attributes["http.route"] == "/v1/embeddings"
    assert first.resource.attributes["service.name"] == "jaxembed"


def test_spans_reach_a_collector(llm):
    received = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append((self.path, self.headers["content-type"]))
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}/v1/traces"
        with TestClient(create_app(Service(llm, Settings(otlp_traces_endpoint=endpoint)))) as client:
            assert client.get("/version").status_code == 200
        server.shutdown()
    assert received == [("/v1/traces", "application/x-protobuf")]


def test_without_the_packages_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with refused("--otlp-traces-endpoint", "pip install 'jaxembed[otel]'"):
        Tracing("http://127.0.0.1:1")


def test_nothing_is_imported_without_an_endpoint():
    code = "import jaxembed.server.app, sys; print('opentelemetry.sdk.trace' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
