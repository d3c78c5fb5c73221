"""The report of a replay: its figures, and an account of every record in Kafka and ClickHouse.

Counts what each topic lets a reader read, against the rows and the quarantined records that
ClickHouse holds of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from adapters import kafka
from adapters.clickhouse import ClickHouse, connected, dsn_of
from adapters.tables import OF_TOPIC, SUNK
from adapters.tables_progress import tables_of
from core.settings import Settings
from local.replay import Replay
from schemas.errors import Unavailable
from schemas.models import ModelLog, Publish, Retrain
from schemas.topics import BY_NAME, Topic

SINK_WITHIN_S = 90.0
COUNT_WITHIN_S = 60.0
_POLL_S = 0.1
_DAY = "%Y-%m-%dT%H:%M:%SZ"


def make_report(replay: Replay, seconds: float) -> dict[str, Any]:
    """The whole report, once the sink has stored what Kafka holds.

    Raises:
        Unavailable: the sink did not store everything in time.
    """
    readable = count_readable(replay.settings, SUNK)
    with connected(dsn_of(replay.settings)) as client:
        accounting = wait_stored(client, replay.settings, readable)
        found = sources(client)
        dead = dead_letters(client)
        outcomes = _count(client, OF_TOPIC["outcomes"].name)
    plan = replay.plan
    return {
        "seconds": round(seconds, 1),
        "phases": {name: round(spent, 1) for name, spent in replay.phase_s.items()},
        "waits": {name: round(spent, 1) for name, spent in replay.waits.spent_s.items()},
        "span": {
            "train_until": iso(plan.train_until_ms),
            "from": iso(plan.from_ms),
            "to": iso(min(plan.to_ms, replay.now_ms)),
        },
        "events": replay.sender.events,
        "requests": replay.requests,
        "predictions": replay.inbox.predictions,
        "outcomes": outcomes,
        "barriers": replay.barriers,
        **losses(replay.player.source_lines, replay.sender.events, found),
        "dead_letters": dead,
        "exclusions": replay.player.exclusions,
        "http_asked": replay.http.asked,
        "http_failed": replay.http.failed,
        "mixed_versions": replay.mixed_versions,
        "retrains": retrain_rows(replay),
        **replay.player.figures.as_report(),
        "accounting": accounting,
    }


def iso(at_ms: int) -> str:
    """An event time as text.

    >>> iso(1298937600000)
    '2011-03-01T00:00:00Z'
    """
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(_DAY)


def count_readable(settings: Settings, counted: Iterable[Topic]) -> dict[str, int]:
    """How many records a reader of committed records finds, by bare topic name.

    Raises:
        Unavailable: the ends were not reached in time.
    """
    wanted = list(counted)
    bare = {kafka.topic_name(settings, topic): topic.name for topic in wanted}
    consumer = kafka.consumer(settings, None, enable_partition_eof=True, queued_min_messages=20_000)
    places = [
        TopicPartition(name, number, 0)
        for name, short in bare.items()
        for number in range(BY_NAME[short].partitions)
    ]
    found = dict.fromkeys((topic.name for topic in wanted), 0)
    left = {(place.topic, place.partition) for place in places}
    deadline_s = time.monotonic() + COUNT_WITHIN_S
    try:
        consumer.assign(places)
        while left:
            if time.monotonic() > deadline_s:
                raise Unavailable(f"not read to the end in {COUNT_WITHIN_S:.0f} s: {sorted(left)}")
            for message in consumer.consume(10_000, timeout=0.1):
                error = message.error()
                if error is None:
                    found[bare[str(message.topic())]] += 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard((str(message.topic()), int(message.partition() or 0)))
                else:
                    kafka.raise_if_lasting(error)
    finally:
        consumer.close()
    return found


def wait_stored(
    client: ClickHouse, settings: Settings, readable: dict[str, int]
) -> dict[str, dict[str, int]]:
    """Per topic: readable records, rows and quarantined ones, once they agree.

    Raises:
        Unavailable: they did not in time; the text names the topics.
    """
    deadline_s = time.monotonic() + SINK_WITHIN_S
    while True:
        account = {name: _stored(client, settings, name, n) for name, n in readable.items()}
        short = [
            f"{name} ({one['rows'] + one['quarantined']} of {one['readable']})"
            for name, one in account.items()
            if one["rows"] + one["quarantined"] < one["readable"]
        ]
        if not short:
            return account
        if time.monotonic() > deadline_s:
            raise Unavailable(
                f"sink has not stored everything in {SINK_WITHIN_S:.0f} s: {', '.join(short)}"
            )
        time.sleep(_POLL_S)


def _stored(client: ClickHouse, settings: Settings, name: str, readable: int) -> dict[str, int]:
    topic = kafka.topic_name(settings, BY_NAME[name])
    counts = {
        table.name: _count(client, table.name, "WHERE _topic = {topic:String}", {"topic": topic})
        for table in tables_of(name)
    }
    quarantined = counts.pop("quarantine")
    return {"readable": readable, "rows": sum(counts.values()), "quarantined": quarantined}


def _count(
    client: ClickHouse, table: str, where: str = "", parameters: dict[str, str] | None = None
) -> int:
    return int(client.query_rows(f"SELECT count() FROM `{table}` {where}", parameters)[0][0])


def losses(lines: int, events: int, found: dict[str, int]) -> dict[str, int]:
    """What was sent and not found, and what was found twice: by source line, else by event.

    >>> losses(3, 2, {"lines": 3, "distinct": 2, "events": 2, "event_ids": 2})
    {'lost': 1, 'duplicated': 1}
    """
    if lines:
        total, distinct, sent = found["lines"], found["distinct"], lines
    else:
        total, distinct, sent = found["events"], found["event_ids"], events
    return {"lost": sent - distinct, "duplicated": total - distinct}


_SOURCES = """
SELECT count(), uniqExact(line) FROM (
    SELECT arrayJoin(`items.source_id`) AS line FROM events
    UNION ALL
    SELECT arrayJoin(JSONExtract(value, 'items', 'Array(Tuple(source_id Nullable(String)))')).1
    FROM dead_letters WHERE topic = {topic:String}
) WHERE line IS NOT NULL AND line != ''
"""


_RECORDS = """
SELECT count(), uniqExact(id) FROM (
    SELECT event_id AS id FROM events
    UNION ALL
    SELECT origin FROM dead_letters WHERE topic = {topic:String}
)
"""


def sources(client: ClickHouse) -> dict[str, int]:
    """Source lines and records in ClickHouse's events and dead letters: all, and distinct ones."""
    lines, distinct = client.query_rows(_SOURCES, {"topic": "events"})[0]
    events, event_ids = client.query_rows(_RECORDS, {"topic": "events"})[0]
    return {
        "lines": int(lines),
        "distinct": int(distinct),
        "events": int(events),
        "event_ids": int(event_ids),
    }


def dead_letters(client: ClickHouse) -> dict[str, int]:
    """Refused records by reason."""
    rows = client.query_rows(
        "SELECT reason, count() FROM dead_letters GROUP BY reason ORDER BY reason"
    )
    return {str(reason): int(n) for reason, n in rows}


def retrain_rows(replay: Replay) -> list[dict[str, Any]]:
    """Every retrain that was accepted, with its version's way to the shoppers."""
    found = []
    for retrain_id, said in replay.inbox.retrains.items():
        accepted = next((each for each in said if each.state == "accepted"), None)
        if accepted is not None:
            log = [each for each in replay.inbox.log if each.retrain_id == retrain_id]
            publish = replay.inbox.published.get(retrain_id)
            found.append(_retrain_row(accepted, publish, log, replay.inbox.log))
    return found


def _retrain_row(
    accepted: Retrain, publish: Publish | None, log: list[ModelLog], whole: list[ModelLog]
) -> dict[str, Any]:
    version = publish.model_version if publish else None
    of_version = log or [each for each in whole if each.model_version == version]
    promoted = next((each for each in of_version if each.kind == "promoted"), None)
    rejected = next((each for each in of_version if each.kind == "rejected"), None)
    return {
        "id": accepted.retrain_id,
        "kind": accepted.kind,
        "reason": accepted.reason,
        "requested_event_time": iso(accepted.event_time_ms),
        "model_version": version,
        "gate": _gate(publish),
        "promoted_event_time": iso(promoted.event_time_ms) if promoted else None,
        "rejected": rejected.reason if rejected else None,
        "announce_to_swap_ms": {
            each.process: each.announce_to_swap_ms
            for each in whole
            if each.kind == "swapped" and each.model_version == version
        },
    }


def _gate(publish: Publish | None) -> dict[str, Any] | None:
    if publish is None:
        return None
    checks = {check.name: check.passed for check in publish.gate.checks}
    reason = publish.failed or publish.gate.reason
    return {"passed": publish.gate.passed, "reason": reason, "checks": checks}
