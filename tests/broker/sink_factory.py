"""A sink to run or to kill in tests, producers of every kind of record, and the accounting."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, TopicPartition

from adapters.clickhouse import ClickHouse, connected
from adapters.kafka import consumer, producer, topic_name
from adapters.tables import TABLES, Table
from adapters.tables_progress import tables_of
from core.settings import Settings
from schemas.topics import Topic
from streams.sink import sink_until

ROOT = Path(__file__).parents[2]
WITHIN_S = 150.0
_PROGRAM = (
    "import os; from core.settings import parse; from streams.sink import run; "
    "run(parse(os.environ))"
)


def settings_of(kafka: str, dsn: str, prefix: str) -> Settings:
    """Settings of one test: its own topics, groups and database."""
    return Settings(kafka=kafka, clickhouse=dsn, topic_prefix=prefix)


def start_sink(settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    """The sink as a process of its own, which a test may kill."""
    environ = {
        **os.environ,
        "SHOPLOOP_KAFKA": settings.kafka,
        "SHOPLOOP_CLICKHOUSE": settings.clickhouse,
        "SHOPLOOP_TOPIC_PREFIX": settings.topic_prefix,
    }
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], cwd=ROOT, env=environ, stdout=out, stderr=out
        )


@contextmanager
def running_sink(settings: Settings) -> Iterator[None]:
    """The sink in a thread of this process; its error fails the test."""
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="sink") as pool:
        sink = pool.submit(sink_until, settings, stop.is_set)
        try:
            yield
        finally:
            stop.set()
            sink.result(WITHIN_S)


def send(settings: Settings, topic: Topic, values: list[bytes | None], **options: Any) -> None:
    """Produce values to a topic, spread over its partitions, and wait until they are there."""
    client = producer(settings)
    refused: list[Any] = []

    def delivered(error: Any, _message: Any) -> None:
        if error is not None:
            refused.append(error)

    for number, value in enumerate(values):
        client.produce(
            topic_name(settings, topic),
            value,
            key=f"k{number}",
            partition=number % topic.partitions,
            on_delivery=delivered,
            **options,
        )
    assert client.flush(WITHIN_S) == 0
    assert refused == []


def readable(settings: Settings, topic: Topic) -> int:
    """How many committed records a reader of the whole topic gets."""
    client = consumer(settings, None, enable_partition_eof=True)
    name = topic_name(settings, topic)
    client.assign([TopicPartition(name, number, 0) for number in range(topic.partitions)])
    count, ended, deadline = 0, 0, time.monotonic() + WITHIN_S
    while ended < topic.partitions:
        assert time.monotonic() < deadline, f"{name} was not read to its end"
        for message in client.consume(1_000, timeout=0.1):
            if message.error() is None:
                count += 1
            elif message.error().code() == KafkaError._PARTITION_EOF:
                ended += 1
    client.close()
    return count


def stored(
    client: ClickHouse, settings: Settings, topic: Topic, tables: Sequence[Table] = TABLES
) -> tuple[int, int]:
    """How many rows of a topic these tables hold, and how many different records they are of."""
    union = " UNION ALL ".join(
        f"SELECT _topic, _topic_id, _partition, _offset FROM `{table.name}`" for table in tables
    )
    rows = client.query_rows(
        f"SELECT count(), uniqExact(_topic_id, _partition, _offset) FROM ({union}) "
        "WHERE _topic = {topic:String}",
        {"topic": topic_name(settings, topic)},
    )
    return int(rows[0][0]), int(rows[0][1])


def wait_until(holds: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    """Return when something holds; fail when it does not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def wait_stored(settings: Settings, wanted: dict[Topic, int]) -> None:
    """Return when each topic's records are all in the tables, each once."""
    with connected(settings.clickhouse) as client:
        for topic, count in wanted.items():
            wait_until(
                lambda topic=topic, count=count: (  # type: ignore[misc]
                    stored(client, settings, topic, tables_of(topic.name))[0] >= count
                ),
                f"{topic.name}: {count} records wanted",
            )
            assert stored(client, settings, topic) == (count, count), topic.name
