"""Prometheus figures of a serving process, in a registry of its own."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from schemas.predictions import Prediction

_BUCKETS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.0)


class Metrics:
    """What this process has answered, refused and loaded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self._answers = Counter(
            "shoploop_serving_answers",
            "Answers given.",
            ["transport", "surface", "arm", "degraded"],
            registry=registry,
        )
        self._latency = Histogram(
            "shoploop_serving_latency_seconds",
            "From arrival to answer; over HTTP to the broker's acknowledgement.",
            ["transport"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._refused = Counter(
            "shoploop_serving_refused", "Requests refused.", ["reason"], registry=registry
        )
        self._events = Counter(
            "shoploop_serving_events", "Events taken over HTTP.", ["result"], registry=registry
        )
        self._swaps = Gauge(
            "shoploop_serving_swaps", "Versions swapped in since the start.", registry=registry
        )
        self._version = Gauge(
            "shoploop_serving_model_info", "The champion in use.", ["version"], registry=registry
        )
        self._lag = Gauge(
            "shoploop_serving_kafka_lag", "Records not read yet.", ["topic"], registry=registry
        )
        self._derived = Counter(
            "shoploop_shadow_answers", "Derived answers.", ["policy"], registry=registry
        )

    def answered(self, transport: str, answers: Sequence[Prediction], took_s: float) -> None:
        """Counts answers and the time from their arrival."""
        for given in answers:
            degraded = given.degraded or ""
            self._answers.labels(transport, given.surface, given.arm, degraded).inc()
            self._latency.labels(transport).observe(took_s)

    def derived(self, answers: Sequence[Prediction]) -> None:
        """Counts what the shadow wrote."""
        for given in answers:
            self._derived.labels(given.policy).inc()

    def refused(self, reason: str) -> None:
        """Counts one refused request."""
        self._refused.labels(reason).inc()

    def events(self, accepted: int, refused: int) -> None:
        """Counts events of one call."""
        self._events.labels("accepted").inc(accepted)
        self._events.labels("refused").inc(refused)

    def lag(self, topic: str, records: int) -> None:
        """Sets how many records of a topic wait."""
        self._lag.labels(topic).set(records)

    def text(self, version: str, swaps: int) -> str:
        """Everything as Prometheus text."""
        self._swaps.set(swaps)
        self._version.clear()
        self._version.labels(version).set(1)
        return generate_latest(self.registry).decode()
