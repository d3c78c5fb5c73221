"""Where the measurements run: an embedded broker and ClickHouse of their own.

Everything lives in one temporary directory on free loopback ports; only what was started here is
ended. Times are `time.monotonic()`, which all processes of a machine share.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, Message, TopicPartition

from adapters.kafka import consumer, ensure_topics, producer, topic_name
from bench.streams_shop import Arrival, Barrier
from core.settings import Settings
from local.child import free_ports
from local.clickhouse import EmbeddedClickHouse
from local.kafka import EmbeddedKafka
from schemas import topics
from schemas.codec import encode
from schemas.events import EventWatermark
from schemas.topics import Topic
from schemas.watermarks import Watermark

ROOT = Path(__file__).resolve().parent.parent
RUN_ID = "bench"
_TOPICS = {"events": topics.EVENTS, "predictions": topics.PREDICTIONS}


@dataclass
class Ground:
    """The broker, and ClickHouse once somebody asked for it."""

    folder: Path
    kafka: str
    _stack: ExitStack
    _clickhouse: str = ""

    @property
    def clickhouse(self) -> str:
        """The DSN of the embedded ClickHouse, started at the first call; without a database."""
        if not self._clickhouse:
            (port,) = free_ports(1)
            server = EmbeddedClickHouse(self.folder / "clickhouse", port)
            self._stack.enter_context(server)
            self._clickhouse = server.address.rpartition("/")[0]
        return self._clickhouse

    def settings(self, name: str, **changes: Any) -> Settings:
        """Settings with topics, a database and a home of their own."""
        home = self.folder / "homes" / name
        dsn = f"{self._clickhouse or 'http://127.0.0.1:1'}/{name}"
        return Settings(
            kafka=self.kafka, clickhouse=dsn, topic_prefix=f"{name}.", home=str(home), **changes
        )

    def environ(self, settings: Settings) -> dict[str, str]:
        """The environment of a product process at these settings."""
        plain = Settings()
        named = {
            f"SHOPLOOP_{field.upper()}": str(getattr(settings, field))
            for field in Settings.__struct_fields__
            if getattr(settings, field) != getattr(plain, field)
        }
        kept = {name: text for name, text in os.environ.items() if not name.startswith("SHOPLOOP_")}
        return {**kept, **named, "SHOPLOOP_LOG_LEVEL": "WARNING"}


@contextmanager
def ground() -> Iterator[Ground]:
    """A broker in a temporary directory, gone at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="shoploop-bench-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        port, controller = free_ports(2)
        broker = stack.enter_context(EmbeddedKafka(folder / "kafka", port, controller))
        yield Ground(folder, broker.address, stack)


@contextmanager
def process(
    arguments: Sequence[str], environ: Mapping[str, str], log: Path, program: str = sys.executable
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process at the repository's root; it is ended with the block."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        child = subprocess.Popen(
            [program, *arguments], cwd=ROOT, env=environ, stdout=out, stderr=out
        )
    try:
        yield child
    finally:
        end(child)


def end(child: subprocess.Popen[bytes], within_s: float = 30.0) -> int:
    """Ends a process we started: SIGTERM, then SIGKILL; its exit status."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(within_s)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def wait_for(holds: Callable[[], bool], child: subprocess.Popen[bytes], within_s: float) -> bool:
    """Whether it came to hold in time; False at once when the process ends before."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline or child.poll() is not None:
            return holds()
        time.sleep(0.02)
    return True


def write(
    settings: Settings, prefixes: Sequence[str], records: Iterable[Arrival | Barrier]
) -> dict[str, int]:
    """Writes the records to the topics of each prefix; how many of each kind, of one prefix."""
    sender = Sender(settings, prefixes)
    for record in records:
        sender.send(record)
    sender.flush()
    return sender.counts


class Sender:
    """Writes arrivals and barriers, keys where the product's own producers put them.

    With `valid` events go to `events.valid`, as if intake had passed them on.
    """

    def __init__(
        self,
        settings: Settings,
        prefixes: Sequence[str],
        *,
        linger_ms: float = 20,
        valid: bool = False,
    ) -> None:
        self.counts = {"events": 0, "predictions": 0, "repeats": 0, "barriers": 0}
        ends = {**_TOPICS, "events": topics.EVENTS_VALID} if valid else _TOPICS
        self._names = {k: [topic.full_name(p) for p in prefixes] for k, topic in ends.items()}
        self._client = producer(settings, linger_ms=linger_ms)

    def send(self, record: Arrival | Barrier) -> None:
        """Hands one record to the client; a barrier goes to every partition of both topics."""
        if isinstance(record, Barrier):
            self.counts["barriers"] += 1
            for kind, topic in _TOPICS.items():
                for name in self._names[kind]:
                    for partition in range(topic.partitions):
                        self._produce(name, _barrier(record, kind), None, partition)
            return
        self.counts[record.kind] += 1
        self.counts["repeats"] += record.is_repeat
        for name in self._names[record.kind]:
            self._produce(name, record.value, record.visitor_id)

    def flush(self) -> None:
        """Returns when the broker has everything."""
        if self._client.flush(60.0):
            raise RuntimeError("the broker did not take every record within 60 s")

    def _produce(self, name: str, value: bytes, key: str | None, partition: int = -1) -> None:
        while True:
            try:
                self._client.produce(name, value, key, partition=partition)
                return
            except BufferError:
                self._client.poll(0.05)


def _barrier(barrier: Barrier, kind: str) -> bytes:
    made = EventWatermark if kind == "events" else Watermark
    return encode(
        made(
            event_time_ms=barrier.event_time_ms,
            barrier=barrier.number,
            run_id=RUN_ID,
            final=barrier.final,
        )
    )


def make_topics(ground_: Ground, prefixes: Iterable[str], wanted: Iterable[Topic]) -> None:
    """Makes topics under some prefixes."""
    for prefix in prefixes:
        ensure_topics(Settings(kafka=ground_.kafka, topic_prefix=prefix), list(wanted))


class Committed:
    """How far a consumer group has committed on some topics of full name."""

    def __init__(self, kafka: str, group: str, names: Mapping[str, int]) -> None:
        # Committed offsets are asked for, not those that a killed worker's transaction holds up.
        self._client = consumer(Settings(kafka=kafka), group, isolation_level="read_uncommitted")
        self._places = [TopicPartition(n, i) for n, count in names.items() for i in range(count)]

    def total(self) -> int:
        """The sum of the next offsets."""
        found = self._client.committed(self._places, timeout=10)
        return sum(max(place.offset, 0) for place in found)

    def wanted(self) -> int:
        """The sum of the end offsets."""
        return sum(self._client.get_watermark_offsets(p, timeout=10)[1] for p in self._places)

    def close(self) -> None:
        """Leaves the broker."""
        self._client.close()


def read_all(settings: Settings, topic: Topic) -> list[Message]:
    """Every committed record of a topic, partition by partition in offset order."""
    client = consumer(settings, None, enable_partition_eof=True)
    name = topic_name(settings, topic)
    client.assign([TopicPartition(name, number, 0) for number in range(topic.partitions)])
    found: list[Message] = []
    ended, deadline = 0, time.monotonic() + 120
    while ended < topic.partitions and time.monotonic() < deadline:
        for message in client.consume(10_000, timeout=0.2):
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended += 1
    client.close()
    if ended < topic.partitions:
        raise RuntimeError(f"{name} was not read to its end within 120 s")
    return sorted(found, key=lambda m: (int(m.partition() or 0), int(m.offset() or 0)))
