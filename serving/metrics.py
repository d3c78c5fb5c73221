"""Prometheus figures of a serving process, in a registry of its own.

Names and units by Prometheus's conventions; labels are words of ours, never ids, items or queries.
What stands at a moment (versions, lag, age) is read when it is asked for, by `serving/standing.py`
or a callable; here is what is counted with every request, in a few microseconds.
"""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from schemas.predictions import Prediction

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "shoploop_serving_"
_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0, 4.0)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
MOST_SURFACES, OTHER = 50, "other"


Child = TypeVar("Child")


class _Family(Generic[Child]):
    """Children of one metric, each looked up by its label values once."""

    def __init__(self, made: Callable[..., Child]) -> None:
        self._made = made
        self._children: dict[tuple[str, ...], Child] = {}

    def of(self, *values: str) -> Child:
        """The child with these label values."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self._made(*values)
        return child


class Metrics:
    """What this process has answered, refused and read; it is also the watch of its queues."""

    def __init__(self) -> None:
        # Else each counter has a second series that says when it was made.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._answers = self._counter(
            "answers", "Answers given.", "transport", "surface", "arm", "degraded"
        )
        self._surfaces: set[str] = set()
        self._latency = self._histogram(
            "latency_seconds", "From arrival to answer, until it is safe.", "transport"
        )
        self._stages = self._histogram(
            "stage_seconds", "Parts of that, a batch at a time: queue, answer, log.", "stage"
        )
        self._passes = self._histogram(
            "batch_seconds", "A pass over the requests of a queue.", "queue"
        )
        self._batches = _Family(
            Histogram(
                _PREFIX + "batch_size",
                "Requests answered in one pass.",
                ["queue"],
                buckets=_BATCHES,
                registry=self.registry,
            ).labels
        )
        self._shed = self._counter(
            "shed", "Requests not answered: over_share, over_capacity, deadline.", "queue", "reason"
        )
        self._refused = self._counter(
            "refused", "Requests refused as invalid, or internal: answering failed.", "reason"
        )
        self._rules = self._counter("rules_files", "Rules files read.", "result")
        self._events = self._counter("events", "Events taken over HTTP.", "result")
        self._replies = self._counter("http_requests", "HTTP requests.", "route", "status")
        self._replied = self._histogram("http_request_seconds", "The whole HTTP request.", "route")
        self.in_flight = Gauge(
            _PREFIX + "http_in_flight", "HTTP requests being answered.", registry=self.registry
        )
        lag = Gauge(
            _PREFIX + "kafka_lag", "Records not read yet.", ["topic"], registry=self.registry
        )
        self._lag = _Family(lag.labels)
        derived = Counter(
            "shoploop_shadow_answers", "Derived answers.", ["policy"], registry=self.registry
        )
        self._derived = _Family(derived.labels)

    def answered(self, transport: str, answers: Sequence[Prediction], took_s: float) -> None:
        """Counts answers and the time from their arrival."""
        latency = self._latency.of(transport)
        for given in answers:
            degraded = given.degraded or ""
            self._answers.of(transport, self._surface(given), given.arm, degraded).inc()
            latency.observe(took_s)

    def batch(self, name: str, size: int, took_s: float) -> None:
        """Counts a pass over the requests of a queue."""
        self._batches.of(name).observe(size)
        self._passes.of(name).observe(took_s)

    def stage(self, stage: str, took_s: float) -> None:
        """Counts the time that one part of answering took."""
        self._stages.of(stage).observe(took_s)

    def shed(self, name: str, reason: str) -> None:
        """Counts a request that a queue did not answer."""
        self._shed.of(name, reason).inc()

    def replied(self, route: str, status: int, took_s: float) -> None:
        """Counts an HTTP request; the route is the path's template."""
        self._replies.of(route, str(status)).inc()
        self._replied.of(route).observe(took_s)

    def derived(self, answers: Sequence[Prediction]) -> None:
        """Counts what the shadow wrote."""
        for given in answers:
            self._derived.of(given.policy).inc()

    def refused(self, reason: str) -> None:
        """Counts one request that was refused, or that could not be answered."""
        self._refused.of(reason).inc()

    def rules_read(self, result: str) -> None:
        """Counts a rules file: accepted or refused."""
        self._rules.of(result).inc()

    def events(self, accepted: int, refused: int) -> None:
        """Counts events of one call."""
        self._events.of("accepted").inc(accepted)
        self._events.of("refused").inc(refused)

    def lag(self, topic: str, records: int) -> None:
        """Sets how many records of a topic wait."""
        self._lag.of(topic).set(records)

    def gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Adds a figure that is read whenever the text is asked for."""
        Gauge(_PREFIX + name, documentation, registry=self.registry).set_function(read)

    def collect(self, collector: Collector) -> None:
        """Adds figures that are gathered whenever the text is asked for."""
        self.registry.register(collector)

    def text(self) -> str:
        """Everything as Prometheus text."""
        return generate_latest(self.registry).decode()

    def _surface(self, given: Prediction) -> str:
        """The surface's name; `other` beyond the first fifty: callers name them as they like."""
        if given.surface not in self._surfaces:
            if len(self._surfaces) >= MOST_SURFACES:
                return OTHER
            self._surfaces.add(given.surface)
        return given.surface

    def _counter(self, name: str, documentation: str, *labels: str) -> _Family[Counter]:
        made = Counter(_PREFIX + name, documentation, labels, registry=self.registry)
        return _Family(made.labels)

    def _histogram(self, name: str, documentation: str, *labels: str) -> _Family[Histogram]:
        made = Histogram(
            _PREFIX + name, documentation, labels, buckets=_SECONDS, registry=self.registry
        )
        return _Family(made.labels)
