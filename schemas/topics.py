"""The topics: their keys, partitions and retention (design: one table, everyone reads it)."""

from typing import Any

import msgspec

from schemas import (
    audit,
    events,
    identities,
    items,
    metrics,
    models,
    outcomes,
    predictions,
    resent,
    watermarks,
)

DAY_MS = 86_400_000
VISITOR_PARTITIONS = 2
"""A machine of two cores has no use for more; every transaction and barrier pays for each."""
FACT_DAYS = 400
"""How long rows of facts are kept: a year to compare with, and a month to do it in."""
REFUSED_SUFFIX = ".dlq"


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic: bare name, what keys it, the record it holds, and how long it is kept.

    Kafka keeps a record for `retention_ms` after its timestamp; ClickHouse keeps its row for
    `rows_days` after storing it, None for ever. Rows are kept longer than records, so that the two
    can be counted against each other; what a compacted topic says is never dropped.
    """

    name: str
    key: str
    record: Any
    partitions: int = 1
    cleanup: str = "delete"
    retention_ms: int | None = None
    rows_days: int | None = None
    refused_from: str | None = None

    def full_name(self, prefix: str = "shoploop.") -> str:
        """The name in Kafka: prefix + bare name + .v1.

        >>> Topic(name="events", key="visitor_id", record=None).full_name()
        'shoploop.events.v1'
        """
        return f"{prefix}{self.name}.v1"


def _by_visitor(name: str, record: Any, days: int) -> Topic:
    return Topic(
        name=name,
        key="visitor_id",
        record=record,
        partitions=VISITOR_PARTITIONS,
        retention_ms=days * DAY_MS,
        rows_days=FACT_DAYS,
    )


EVENTS = _by_visitor("events", events.EventRecord, 3)
EVENTS_VALID = _by_visitor("events.valid", events.EventRecord, 28)
REQUESTS = _by_visitor("requests", predictions.RequestRecord, 3)
PREDICTIONS = _by_visitor("predictions", predictions.PredictionRecord, 28)
OUTCOMES = _by_visitor("outcomes", outcomes.Outcome, 28)
IDENTITIES = Topic(
    name="identities",
    key="visitor_id",
    record=identities.Identity,
    partitions=VISITOR_PARTITIONS,
    cleanup="compact",
)
ITEMS = Topic(name="items", key="item_id", record=items.Item, cleanup="compact")
SLOTS = Topic(
    name="slots",
    key="task/surface",
    record=outcomes.SlotRecord,
    retention_ms=3 * DAY_MS,  # one partition: the task stage has one owner
)
METRICS = Topic(
    name="metrics",
    key="task",
    record=metrics.Metric,
    retention_ms=90 * DAY_MS,
    rows_days=FACT_DAYS,
)
DRIFT = Topic(name="drift", key="task", record=metrics.DriftAlarm, retention_ms=365 * DAY_MS)
RETRAIN = Topic(name="retrain", key="task", record=models.Retrain, retention_ms=365 * DAY_MS)
MODELS = Topic(name="models", key="task", record=models.ModelPointer, cleanup="compact")
MODEL_LOG = Topic(name="model_log", key="task", record=models.ModelLog, retention_ms=730 * DAY_MS)
COMMANDS = Topic(name="commands", key="task", record=models.Command, retention_ms=90 * DAY_MS)
WEIGHTS = Topic(name="weights", key="task/surface/role", record=models.Weights, cleanup="compact")
ALERTS = Topic(name="alerts", key="alert_id", record=metrics.Alert, cleanup="compact")
ERASURES = Topic(name="erasures", key="visitor_id", record=models.Erasure, cleanup="compact")
RESENT = Topic(name="resent", key="letter", record=resent.Resent, cleanup="compact")
AUDIT = Topic(name="audit", key="actor", record=audit.AdminAction, retention_ms=730 * DAY_MS)
PROGRESS = Topic(name="progress", key="process", record=watermarks.Progress, retention_ms=DAY_MS)

_PLAIN = (
    EVENTS,
    EVENTS_VALID,
    IDENTITIES,
    ITEMS,
    REQUESTS,
    PREDICTIONS,
    OUTCOMES,
    SLOTS,
    METRICS,
    DRIFT,
    RETRAIN,
    MODELS,
    MODEL_LOG,
    COMMANDS,
    WEIGHTS,
    ALERTS,
    ERASURES,
    RESENT,
    AUDIT,
    PROGRESS,
)


def refused(topic: Topic) -> Topic:
    """The dead-letter topic of a topic: refused bytes, reason and origin in headers."""
    return Topic(
        name=topic.name + REFUSED_SUFFIX,
        key=topic.key,
        record=None,
        retention_ms=28 * DAY_MS,
        rows_days=FACT_DAYS,
        refused_from=topic.name,
    )


DEAD_LETTERS: tuple[Topic, ...] = tuple(
    refused(topic) for topic in (EVENTS, ITEMS, REQUESTS, PREDICTIONS, COMMANDS)
)
ALL: tuple[Topic, ...] = (*_PLAIN, *DEAD_LETTERS)
BY_NAME: dict[str, Topic] = {topic.name: topic for topic in ALL}
