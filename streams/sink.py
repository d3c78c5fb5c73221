"""The ClickHouse sink: every topic's records as rows, each exactly once, whatever kills it.

Every second, every some thousand rows, or when nothing more comes, it stores one insert per table,
then the positions, and reads on from there after a crash; rows that were stored before their
positions are told by their offsets. Run by `python -m streams sink`.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import msgspec

from adapters.clickhouse import connected
from adapters.clock import wall_ms
from adapters.health import counters_text, start_health
from adapters.kafka import ensure_topics, producer, topic_name
from adapters.tables import WATERMARKS
from adapters.tables_migrate import migrate
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.watermarks import Progress
from streams.sink_block import Batch, Row
from streams.sink_feed import Feed, Place
from streams.sink_store import Store

MAX_ROWS = 10_000
MAX_BYTES = 8_000_000
MAX_AGE_S = 1.0
# Storing takes at most this share of the time: under load fewer inserts, each of more rows.
STORING_SHARE = 1 / 6
LONGEST_AGE_S = 3.0
# Longer than a read and a fetch wait: shorter, and rows on their way look like none.
QUIET_S = 0.15
HEARTBEAT_S = 2.0
REMADE_CHECK_S = 5.0
# Below Kafka's max.poll.interval: a sink that cannot store leaves before its place is given away.
INSERT_WITHIN_S = 120.0


class Sink:
    """Reads, gathers and stores; `step` is one turn of the loop."""

    def __init__(self, feed: Feed, store: Store) -> None:
        self._feed = feed
        self._store = store
        self._batch = Batch(store.stored)
        self._wait_s = MAX_AGE_S
        self._stored: dict[Place, int] = {}
        self._flushed_s = self._checked_s = self._came_s = time.monotonic()
        self._barriers: dict[tuple[str, int], Row] = {}
        self.barriers: dict[tuple[str, int], Row] = {}

    @property
    def ready(self) -> bool:
        """Whether partitions are being read."""
        return self._feed.ready

    def step(self) -> None:
        """Read what has come, and store it when it is due.

        Raises:
            Unavailable: Kafka or ClickHouse did not answer in time.
        """
        rows = self._feed.read()
        if rows is None:
            self._begin()
            return
        for table, row in rows:
            self._batch.add(table, row)
            if table is WATERMARKS:
                self._barriers[row.origin.topic, row.origin.partition] = row
        now_s = time.monotonic()
        if rows:
            self._came_s = now_s
        if self._due(now_s):
            self.flush()

    def _due(self, now_s: float) -> bool:
        if self._batch.rows >= MAX_ROWS or self._batch.size_bytes >= MAX_BYTES:
            return True
        quiet = self._batch.rows > 0 and now_s - self._came_s >= QUIET_S
        return quiet or now_s - self._flushed_s >= self._wait_s

    def _begin(self) -> None:
        self._batch = Batch(self._store.stored)
        self._stored = dict(self._feed.positions)
        self._barriers = {}
        self._flushed_s = time.monotonic()

    def flush(self) -> None:
        """Store the rows in hand, then the positions after them."""
        began_s = time.monotonic()
        advanced = self._advanced()
        remade = self._remade(advanced)
        self._batch.drop_topics(remade)
        self._store.write(self._batch)
        safe = {place: at for place, at in advanced.items() if place[0] not in remade}
        self._store.write_progress(safe)
        if safe:
            self._feed.commit(safe)
        self._stored.update(safe)
        self.barriers.update(self._barriers)
        if remade:
            self._feed.restart()
            self._begin()
            return
        self._batch = Batch(self._store.stored)
        self._barriers = {}
        self._flushed_s = time.monotonic()
        took_s = self._flushed_s - began_s
        self._wait_s = min(max(MAX_AGE_S, took_s / STORING_SHARE), LONGEST_AGE_S)
        gc.collect()

    def _advanced(self) -> dict[Place, int]:
        return {
            place: position
            for place, position in self._feed.positions.items()
            if position > self._stored.get(place, 0)
        }

    def _remade(self, advanced: dict[Place, int]) -> frozenset[str]:
        # Rows in hand are of the topic id they were read under only if it is still the same now.
        if time.monotonic() - self._checked_s >= REMADE_CHECK_S:
            self._checked_s = time.monotonic()
            return self._feed.remade(self._feed.topics)
        return self._feed.remade({topic for topic, _, _ in advanced})


def progress_of(sink: Sink) -> Progress:
    """The sink's heartbeat: the barrier that every partition's rows have passed."""
    barriers = [row.record for row in sink.barriers.values()]
    expected = topics.EVENTS_VALID.partitions + topics.PREDICTIONS.partitions
    said = Progress(process="sink", watermark_ms=0, wall_ms=wall_ms(), ready=sink.ready)
    if len(barriers) < expected:
        return said
    oldest = min(barriers, key=lambda each: each.event_time_ms)
    return msgspec.structs.replace(
        said, watermark_ms=oldest.event_time_ms, barrier=oldest.barrier, run_id=oldest.run_id
    )


class Heartbeat:
    """Writes the sink's progress at most every two seconds."""

    def __init__(self, settings: Settings) -> None:
        self._producer = producer(settings)
        self._topic = topic_name(settings, topics.PROGRESS)
        self._said_s = 0.0

    def beat(self, sink: Sink) -> None:
        """Say how far the sink has come, if it is time."""
        self._producer.poll(0)
        if time.monotonic() - self._said_s < HEARTBEAT_S:
            return
        self._said_s = time.monotonic()
        self._producer.produce(self._topic, encode(progress_of(sink)), key="sink")

    def close(self) -> None:
        """Send what is left."""
        self._producer.flush(5)


def metrics_text(store: Store) -> str:
    """Rows stored since the start, by table, as Prometheus text."""
    return counters_text(
        "shoploop_sink",
        {f'rows_total{{table="{name}"}}': rows for name, rows in store.rows_by_table.items()},
    )


def run(settings: Settings) -> None:
    """Sink until SIGTERM or SIGINT, then store what is in hand.

    Raises:
        Unavailable: Kafka or ClickHouse did not answer in time.
        BadSettings: the DSN is wrong, or the database is not this version's.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    sink_until(settings, stop.is_set)


def sink_until(settings: Settings, stopped: Callable[[], bool]) -> None:
    """Sink until `stopped()`; raises as `run`."""
    with ExitStack() as stack:
        ensure_topics(settings)
        client = stack.enter_context(connected(settings.clickhouse, deadline_s=INSERT_WITHIN_S))
        migrate(client)
        store = Store(client)
        store.wait_quiet()
        feed = Feed(settings, store)
        stack.callback(feed.close)
        sink = Sink(feed, store)
        heartbeat = Heartbeat(settings)
        stack.callback(heartbeat.close)
        if settings.http_port > 0:
            health = start_health(
                settings.http_host,
                settings.http_port,
                lambda: sink.ready,
                lambda: metrics_text(store),
            )
            stack.callback(health.stop)
        with _no_pauses():
            while not stopped():
                sink.step()
                heartbeat.beat(sink)
            sink.flush()


@contextmanager
def _no_pauses() -> Iterator[None]:
    """Keep the cycle collector from walking a batch again and again while it is decoded.

    It took four fifths of the time of decoding; batches hold no cycles. What else may hold some is
    collected after each flush, when no batch is alive.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
