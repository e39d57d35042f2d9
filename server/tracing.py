"""Spans of OpenTelemetry, one for each request, in the caller's trace; its packages are imported only for an endpoint."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from jaxembed import __version__
from jaxembed.errors import InputError


class Tracing:
    """Where spans go: to a collector that speaks OTLP over HTTP.

    Args:
        endpoint: its URL, such as http://localhost:4318/v1/traces.
        exporter: another place, for tests.

    Raises:
        InputError: the packages of the extra are missing.
    """

    def __init__(self, endpoint: str | None = None, *, exporter: Any = None) -> None:
        try:
            from opentelemetry import propagate
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor

            if exporter is None:
                from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

                exporter = OTLPSpanExporter(endpoint=endpoint)
        except ImportError:
            raise InputError(
                "--otlp-traces-endpoint needs OpenTelemetry: pip install 'jaxembed[otel]'.", field="--otlp-traces-endpoint"
            ) from None
        resource = Resource.create({"service.name": "jaxembed", "service.version": __version__})
        self._extract = propagate.extract
        # No global provider: a program that embeds this one keeps its own.
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("jaxembed")

    @contextmanager
    def request(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> Iterator[Any]:
        """Gives the span of a request, a child of the one that its `traceparent` header names."""
        from opentelemetry.trace import SpanKind

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}
        about = {"http.request.method": method, "url.path": path}
        with self._tracer.start_as_current_span(
            f"{method} {path}", context=self._extract(carrier), kind=SpanKind.SERVER, attributes=about
        ) as span:
            yield span

    def close(self) -> None:
        """Sends what has not been sent yet."""
        self._provider.shutdown()
