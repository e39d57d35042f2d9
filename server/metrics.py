"""What Prometheus sees: counts of the scheduler, read when it asks, and a latency histogram for each route."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jaxembed.server.door import Door
from jaxembed.server.service import Service

_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The metrics of one server."""

    def __init__(self, service: Service, door: Door) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Engine(service, door))
        self._latency = Histogram(
            "jaxembed_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ["route"],
            buckets=_LATENCIES,
            registry=self._registry,
        )
        self._requests = Counter("jaxembed_requests", "Answers.", ["route", "status"], registry=self._registry)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Counts one answer."""
        self._latency.labels(route).observe(seconds)
        self._requests.labels(route, str(status)).inc()

    def text(self) -> bytes:
        """Returns the metrics in Prometheus's format."""
        return generate_latest(self._registry)


class _Engine(Collector):
    def __init__(self, service: Service, door: Door) -> None:
        self._service, self._door = service, door

    def collect(self) -> Iterator[Metric]:
        service = self._service
        scheduler, stats = service.scheduler, service.scheduler.stats
        gauges = {
            "queue_tokens": ("Tokens that wait.", scheduler.waiting_tokens),
            "tokens_in_flight": ("Tokens in rows that the device has been given.", scheduler.tokens_in_flight),
            "open_requests": ("Requests that were taken and not answered yet.", scheduler.open_requests),
            "predicted_wait_seconds": ("How long a request that came now would wait.", scheduler.predicted_wait_seconds()),
            "tokens_per_second": ("Rate of the last rows.", scheduler.stats.tokens_per_second or 0.0),
            "padding_ratio": ("Part of all rows that held no text.", stats.padding_ratio),
            "engine_up": ("Whether the engine works.", float(scheduler.error is None)),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"jaxembed_{name}", text, value=value)
        counters = {
            "rows": ("Rows run.", stats.rows),
            "texts": ("Texts run.", stats.texts),
            "tokens": ("Tokens run.", stats.tokens),
            "row_tokens": ("Tokens run, padding included.", stats.row_tokens),
            "device_seconds": ("Time in which the device worked.", stats.device_seconds),
            "compiles": ("Programs compiled.", service.llm.engine.compiled),
            "truncated_texts": ("Texts that filled the length they were to be cut to.", service.truncated_texts),
            "nonfinite": ("Texts whose numbers were not finite, each answered with an error.", service.nonfinite_texts),
            "engine_crashes": ("How often the engine thread ended.", stats.crashes),
            "row_halvings": ("How often the device ran out of memory.", stats.halvings),
        }
        for name, (text, value) in counters.items():
            yield CounterMetricFamily(f"jaxembed_{name}", text, value=value)
        for name, text, label, counts in (
            ("shed_requests", "Requests refused before they waited.", "reason", stats.shed),
            ("ended_requests", "Accepted requests by how they ended.", "how", stats.ended),
            ("refused_connections", "Connections and heads refused before a request was one.", "reason", self._door.refused),
        ):
            family = CounterMetricFamily(f"jaxembed_{name}", text, labels=[label])
            for key, value in sorted(dict(counts).items()):
                family.add_metric([key], value)
            yield family
