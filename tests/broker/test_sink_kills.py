"""The sink is killed at random moments while records arrive: nothing is lost, nothing twice."""

from __future__ import annotations

import random
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer
from record_samples import METRIC, RECORDS, outcome, prediction, purchase
from sink_factory import (
    WITHIN_S,
    readable,
    settings_of,
    start_sink,
    wait_stored,
    wait_until,
)

from adapters.clickhouse import ClickHouse, connected
from adapters.kafka import ensure_topics, producer, topic_name
from adapters.tables_migrate import migrate
from adapters.tables_progress import sunk_offsets
from core.settings import Settings
from schemas import topics
from schemas.codec import encode

KILLS = 3
# Written before each start, so that kills fall into large blocks as well as into small ones.
BACKLOG = 20_000
READ = (topics.PREDICTIONS, topics.OUTCOMES, topics.EVENTS_VALID, topics.METRICS)


def test_killed_again_and_again_the_sink_stores_every_record_once(
    kafka_address: str, unique_database: str, unique_prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(kafka_address, unique_database, unique_prefix)
    ensure_topics(settings)
    stop = threading.Event()
    with connected(settings.clickhouse) as client, ThreadPoolExecutor(1) as pool:
        migrate(client)
        writing = pool.submit(_write, settings, stop)
        try:
            _kill_again_and_again(settings, client, tmp_path / "sink.log", random.Random(5))
        finally:
            stop.set()
        writing.result(WITHIN_S)
    sink = start_sink(settings, tmp_path / "sink.log")
    try:
        counts = {topic: readable(settings, topic) for topic in READ}
        assert min(counts.values()) > 100
        wait_stored(settings, counts)
    finally:
        sink.terminate()
        status = sink.wait(WITHIN_S)
    assert status == 0, (tmp_path / "sink.log").read_text()


def _kill_again_and_again(
    settings: Settings, client: ClickHouse, log: Path, chance: random.Random
) -> None:
    for number in range(KILLS):
        _write_backlog(settings, number)
        before = _sunk(client)
        sink = start_sink(settings, log)
        try:
            wait_until(lambda at=before: _sunk(client) > at, "the sink stores nothing")  # type: ignore[misc]
            with pytest.raises(subprocess.TimeoutExpired):
                sink.wait(chance.uniform(0, 1.2))
        finally:
            sink.kill()
            sink.wait()


def _write_backlog(settings: Settings, number: int) -> None:
    client = producer(settings, linger_ms=5)
    value = encode(purchase(event_id=f"backlog{number}"))
    for at in range(BACKLOG):
        if at % 10_000 == 0:
            client.flush(WITHIN_S)
        bad = at % 9_973 == 0
        client.produce(
            topic_name(settings, topics.EVENTS_VALID), b"broken" if bad else value, key=str(at)
        )
    assert client.flush(WITHIN_S) == 0


def _sunk(client: ClickHouse) -> int:
    return sum(sunk_offsets(client).values())


def _write(settings: Settings, stop: threading.Event) -> None:
    """Transactions until told to stop; after what a busy broker breaks, a new client goes on."""
    client, number = _writer(settings), 0
    while not stop.wait(0.02):
        number += 10
        try:
            client.begin_transaction()
            _produce_ten(client, settings, number)
            (client.abort_transaction if number % 50 == 0 else client.commit_transaction)(WITHIN_S)
        except KafkaException:
            client = _writer(settings)


def _writer(settings: Settings) -> Producer:
    """A client that has ended what the one before it had begun."""
    client = producer(settings, transactional_id=settings.topic_prefix + "writer")
    client.init_transactions(WITHIN_S)
    return client


def _produce_ten(client: Producer, settings: Settings, first: int) -> None:
    mark = encode(RECORDS[topics.PREDICTIONS][2])
    for number in range(first, first + 10):
        key = f"v{number % 7}"
        named = {
            topics.PREDICTIONS: encode(prediction(prediction_id=f"p{number}")),
            topics.OUTCOMES: encode(outcome(outcome_id=f"o{number}")),
            topics.EVENTS_VALID: encode(purchase(event_id=f"e{number}")),
            topics.METRICS: encode(METRIC) if number % 3 else b"broken",
        }
        for topic, value in named.items():
            client.produce(topic_name(settings, topic), value, key=key)
        client.produce(topic_name(settings, topics.PREDICTIONS), mark, key=key)
