"""The ClickHouse sink: every topic's records as rows, each exactly once, whatever kills it.

Every second or sooner, every some ten thousand rows, or when nothing more comes, it stores one
insert per table, then the positions, and reads on from there after a crash; rows that were stored
before their positions are told by their offsets. While one batch is stored the next is read. Run by
`python -m streams sink`.
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec

from adapters.clickhouse import connected, dsn_of
from adapters.clock import wall_ms
from adapters.health import counters_text, start_health
from adapters.kafka import ensure_topics, producer, topic_name
from adapters.kafka_errors import BrokerAway
from adapters.tables import WATERMARKS
from adapters.tables_migrate import migrate
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.watermarks import Progress
from streams.sink_block import Batch
from streams.sink_feed import Feed
from streams.sink_store import Place, Store
from streams.sink_writer import Flush, Writer

log = logging.getLogger(__name__)
# Behind, batches grow to this: ClickHouse takes 80,000 rows at a third of the cost of 5,000.
MAX_ROWS = 80_000
MAX_BYTES = 32_000_000
MAX_AGE_S = 1.0
# Storing takes at most this share of the time: under load fewer inserts, each of more rows.
STORING_SHARE = 1 / 6
LONGEST_AGE_S = 3.0
# A trickle costs little however often it is stored, and is what somebody watches live.
TRICKLE_ROWS_S = 1_000
TRICKLE_AGE_S = 0.3
# Longer than a read and a fetch wait: shorter, and rows on their way look like none.
QUIET_S = 0.15
HEARTBEAT_S = 2.0
REMADE_CHECK_S = 5.0
COLLECT_EVERY_S = 5.0
# Below Kafka's max.poll.interval: a sink that cannot store leaves before its place is given away.
INSERT_WITHIN_S = 120.0


class Sink:
    """Reads, gathers and stores; `step` is one turn of the loop."""

    def __init__(self, feed: Feed, store: Store, writer: Writer) -> None:
        self._feed = feed
        self._store = store
        self._writer = writer
        self._wait_s = MAX_AGE_S
        self._stored: dict[Place, int] = {}
        self._flushed_s = self._checked_s = self._came_s = time.monotonic()
        self._collected_s = self._turned_s = self._flushed_s
        self._batch = Batch(store.stored)
        self._barriers: dict[tuple[str, int], Any] = {}
        self.barriers: dict[tuple[str, int], Any] = {}

    @property
    def ready(self) -> bool:
        """Whether partitions are being read."""
        return self._feed.ready

    def figures(self) -> dict[str, float]:
        """How it stands and rows stored since the start, for `/metrics`; by any thread."""
        rows = dict(self._store.rows_by_table)
        return {
            **{f'rows_total{{table="{name}"}}': float(n) for name, n in rows.items()},
            "ready": float(self.ready),
            "turn_age_seconds": time.monotonic() - self._turned_s,
            "kafka_lag": float(self._feed.lag),
        }

    def step(self) -> None:
        """Read what has come, and store it when it is due.

        Raises:
            Unavailable: ClickHouse did not answer in time, or Kafka refuses.
        """
        self._turned_s = time.monotonic()
        try:
            self._turn()
        except BrokerAway as error:
            log.info("Kafka is slow: %s", error)

    def _turn(self) -> None:
        try:
            pieces = self._feed.read()
        except BrokerAway:
            self._begin()  # what is in hand may be another's to store, and is read again
            raise
        self._take()
        if pieces is None:
            self._begin()
            return
        for table, piece in pieces:
            self._batch.add(table, piece)
            if table is WATERMARKS:
                place = piece.source.topic, piece.source.partition
                self._barriers[place] = piece.records[-1]
        now_s = time.monotonic()
        if pieces:
            self._came_s = now_s
        if self._due(now_s):
            self.flush()

    def _due(self, now_s: float) -> bool:
        if self._batch.rows >= MAX_ROWS or self._batch.size_bytes >= MAX_BYTES:
            return True
        if self._writer.busy:
            return False
        quiet = self._batch.rows > 0 and now_s - self._came_s >= QUIET_S
        return quiet or now_s - self._flushed_s >= self._wait_s

    def _begin(self) -> None:
        self._stored = dict(self._feed.positions)
        self._empty()

    def _empty(self) -> None:
        self._batch = Batch(self._store.stored)
        self._barriers = {}
        self._flushed_s = time.monotonic()
        if self._flushed_s - self._collected_s >= COLLECT_EVERY_S:
            self._collected_s = self._flushed_s
            gc.collect()

    def flush(self) -> None:
        """Begin to store the rows in hand, then the positions after them."""
        began_s = time.monotonic()
        advanced = self._advanced()
        remade = self._remade(advanced)
        if not advanced and not remade:
            self._flushed_s = began_s
            return
        self._batch.drop_topics(remade)
        safe = {place: at for place, at in advanced.items() if place[0] not in remade}
        flush = Flush(self._batch.filled(), safe, self._barriers)
        made_s = time.monotonic() - began_s
        self.settle()
        self._writer.start(flush)
        self._stored.update(safe)
        rows_s = self._batch.rows / max(began_s - self._flushed_s, 1e-3)
        self._empty()
        self._wait_s = _wait_s(made_s + self._writer.took_s, rows_s)
        if remade:
            self.settle()
            self._feed.restart()
            self._begin()

    def settle(self) -> None:
        """Return when what was begun is stored; raises as `step`."""
        self._writer.settle()
        self._take()

    def _take(self) -> None:
        flush = self._writer.take()
        if flush is None:
            return
        self.barriers.update(flush.barriers)
        held = self._feed.positions
        self._feed.commit({place: at for place, at in flush.next_offsets.items() if place in held})

    def _advanced(self) -> dict[Place, int]:
        return {
            place: position
            for place, position in self._feed.positions.items()
            if position > self._stored.get(place, 0)
        }

    def _remade(self, advanced: dict[Place, int]) -> frozenset[str]:
        # Rows in hand are of the topic id they were read under only if it is still the same now.
        if time.monotonic() - self._checked_s >= REMADE_CHECK_S:
            remade = self._feed.remade(self._feed.topics)
            self._checked_s = time.monotonic()
            return remade
        return self._feed.remade({topic for topic, _, _ in advanced})


def progress_of(sink: Sink) -> Progress:
    """The sink's heartbeat: the barrier that every partition's rows have passed."""
    barriers = list(sink.barriers.values())
    expected = topics.EVENTS_VALID.partitions + topics.PREDICTIONS.partitions
    said = Progress(process="sink", watermark_ms=0, wall_ms=wall_ms(), ready=sink.ready)
    if len(barriers) < expected:
        return said
    oldest = min(barriers, key=lambda each: each.event_time_ms)
    return msgspec.structs.replace(
        said, watermark_ms=oldest.event_time_ms, barrier=oldest.barrier, run_id=oldest.run_id
    )


def _wait_s(took_s: float, rows_s: float) -> float:
    """How long rows are gathered, after a flush that took so long of so many rows a second."""
    if rows_s < TRICKLE_ROWS_S:
        return TRICKLE_AGE_S
    return min(max(MAX_AGE_S, took_s / STORING_SHARE), LONGEST_AGE_S)


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
        client = stack.enter_context(connected(dsn_of(settings), deadline_s=INSERT_WITHIN_S))
        migrate(client)
        store = Store(client)
        store.wait_quiet()
        writer = Writer(store)
        stack.callback(writer.close)
        feed = Feed(settings, store, writer.settle)
        stack.callback(feed.close)
        sink = Sink(feed, store, writer)
        heartbeat = Heartbeat(settings)
        stack.callback(heartbeat.close)
        if settings.http_port > 0:
            health = start_health(
                settings,
                lambda: sink.ready,
                lambda: counters_text("shoploop_sink", sink.figures()),
            )
            stack.callback(health.stop)
        with _no_pauses():
            while not stopped():
                sink.step()
                heartbeat.beat(sink)
            sink.flush()
            sink.settle()


@contextmanager
def _no_pauses() -> Iterator[None]:
    """Keep the cycle collector from walking a batch again and again while it is decoded.

    It took four fifths of the time of decoding; batches hold no cycles. What else may hold some is
    collected after a flush, when no batch is alive, every few seconds.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
