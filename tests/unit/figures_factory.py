"""Figures of a serving process that has answered, refused, shed and read a little of everything."""

from types import SimpleNamespace
from typing import Any

from schemas.predictions import Context, Prediction, Slot
from serving.metrics import Metrics
from serving.replica import watch_spool


def prediction(**fields: Any) -> Prediction:
    values: dict[str, Any] = {
        "prediction_id": "p-marked",
        "request_id": "r-marked",
        "visitor_id": "v-marked",
        "task": "recommend",
        "surface": "home",
        "served_at_ms": 1,
        "policy": "loop",
        "arm": "champion",
        "model_version": "20110313-9e953044c013d6c7",
        "weights_version": "w1",
        "slots": [Slot(item_id="i-marked", position=1, score=0.5)],
        "context": Context(history=[], feature_schema="", seen_ms=0),
    }
    return Prediction(**values | fields)


def driven() -> Metrics:
    metrics = Metrics()
    metrics.answered("http", [prediction(), prediction(degraded="no_model")], 0.003)
    metrics.batch("recommend", 2, 0.002)
    metrics.stage("queue", 0.001)
    metrics.shed("recommend", "deadline")
    metrics.refused("invalid")
    metrics.rules_read("refused")
    metrics.events(3, 1)
    metrics.lag("requests", 7)
    metrics.replied("/v1/recommend", 200, 0.004)
    metrics.derived([prediction(policy="popular_7d")])
    waiting = SimpleNamespace(size_bytes=12, records=1)
    ledger: Any = SimpleNamespace(waiting=waiting, age_s=lambda: 0.5)
    watch_spool(metrics, ledger, 64)
    return metrics
