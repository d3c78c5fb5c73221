"""A shop on a real broker and serving processes beside it, for the tests of serving."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import msgspec
from confluent_kafka import Message

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url, home_of
from adapters.kafka import (
    Follower,
    consumer,
    end_offsets,
    ensure_topics,
    producer,
    topic_name,
)
from adapters.signing import load_or_create
from core.features import FEATURE_NAMES, feature_schema_hash
from core.settings import Settings
from local.child import free_ports
from schemas import topics
from schemas.codec import encode
from schemas.events import EventItem, EventWatermark, PurchaseMade
from schemas.ids import new_id
from schemas.items import Item
from schemas.models import ModelPointer, Weights
from schemas.predictions import Prediction, PredictionRecord, RecommendRequest
from schemas.topics import Topic
from schemas.watermarks import Progress, Watermark
from serving.answer import is_explored

ITEMS = ("a", "b", "c", "d", "e", "f")
WITHIN_S = 120.0


def _version_factory() -> ModuleType:
    path = Path(__file__).parents[1] / "unit" / "version_factory.py"
    spec = importlib.util.spec_from_file_location("version_factory", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["version_factory"] = module
    spec.loader.exec_module(module)
    return module


versions = _version_factory()


@dataclass
class Shop:
    """What a shop and a decider would write, and what they would read."""

    settings: Settings
    sequence: int = 0
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ensure_topics(self.settings)
        self.producer = producer(self.settings, linger_ms=0)
        self.store = ArtefactStore(artefacts_url(self.settings))
        self.key = load_or_create(home_of(self.settings))

    def write(self, topic: Topic, key: str, record: Any, partition: int = -1) -> None:
        """Queues one record; bytes go as they are."""
        value = record if isinstance(record, bytes) else encode(record)
        name = topic_name(self.settings, topic)
        self.producer.produce(name, value, key.encode(), partition)

    def flush(self) -> None:
        """Waits until everything is written."""
        assert self.producer.flush(WITHIN_S) == 0

    def stock(self) -> None:
        """A catalogue of six items, all bought once by someone, in wall time."""
        for item in ITEMS:
            title = f"Item {item}"
            self.write(topics.ITEMS, item, Item(item_id=item, updated_at_ms=1_000, title=title))
        self.buy("first", *ITEMS, at_ms=wall_ms() - 60_000)
        self.flush()

    def buy(self, visitor: str, *items: str, at_ms: int) -> str:
        """A purchase, as intake would pass it on; returns its event id."""
        event_id = new_id()
        event = PurchaseMade(
            event_id=event_id,
            event_time_ms=at_ms,
            visitor_id=visitor,
            transaction_id="t" + event_id,
            items=[EventItem(item_id=item) for item in items],
        )
        self.write(topics.EVENTS_VALID, visitor, event)
        return event_id

    def ask(self, visitor: str, **fields: Any) -> str:
        """A request over Kafka; returns its id."""
        values = {"request_id": unexplored_id(), "visitor_id": visitor, "k": 3} | fields
        request = RecommendRequest(**values)
        self.write(topics.REQUESTS, visitor, request)
        self.producer.poll(0)
        return request.request_id

    def barrier(self, at_ms: int, number: int, *, final: bool = False) -> None:
        """Watermarks on every partition of `events.valid` and `predictions`."""
        fields: dict[str, Any] = {
            "event_time_ms": at_ms,
            "barrier": number,
            "run_id": "run",
            "final": final,
        }
        for partition in range(topics.VISITOR_PARTITIONS):
            self.write(topics.EVENTS_VALID, "", EventWatermark(**fields), partition)
            self.write(topics.PREDICTIONS, "", Watermark(**fields), partition)
        self.flush()

    def ends(self, topic: Topic) -> dict[int, int]:
        """The next offset of each partition of a topic."""
        client = consumer(self.settings, None)
        try:
            return end_offsets(self.settings, client, topic)
        finally:
            client.close()

    def version(self, seed: int) -> str:
        """A signed version whose shipped ranker weights are named after the seed."""

        class Named(versions.Version):  # type: ignore[name-defined,misc]
            def ranker(self) -> bytes:
                weights = {
                    "names": list(FEATURE_NAMES),
                    "coef": [0.01 * seed] * len(FEATURE_NAMES),
                    "bias": -1.0,
                    "version": f"shipped-{seed}",
                }
                return encode({"home": weights, "discover": weights})

        made = Named(key=self.key, graph=versions.graph_bytes(seed))
        name = str(made.put(self.store))
        self.names[name] = f"shipped-{seed}"
        return name

    def point(self, champion: str | None, **roles: Any) -> None:
        """A pointer, as the decider writes it."""
        self.sequence += 1
        pointer = ModelPointer(
            task="recommend",
            sequence=self.sequence,
            event_time_ms=wall_ms(),
            champion=champion,
            announced_wall_ms=wall_ms(),
            **roles,
        )
        self.write(topics.MODELS, "recommend", pointer)
        self.flush()

    def weigh(self, version: str, coef: float, surface: str = "home") -> None:
        """Live ranker weights, all coefficients alike but the first."""
        weights = Weights(
            task="recommend",
            surface=surface,
            role="live",
            model_version="",
            version=version,
            event_time_ms=wall_ms(),
            feature_schema=feature_schema_hash(),
            names=list(FEATURE_NAMES),
            coef=[coef, *[coef / 2] * (len(FEATURE_NAMES) - 1)],
            bias=0.0,
        )
        self.write(topics.WEIGHTS, f"recommend/{surface}/live", weights)
        self.flush()


@dataclass
class Reader:
    """Reads one topic from its start and keeps what it has read."""

    settings: Settings
    topic: Topic
    record: Any = None
    messages: list[Message] = field(default_factory=list)
    records: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._follower = Follower(self.settings, [self.topic])
        self._decode = msgspec.json.Decoder(self.record or self.topic.record).decode

    def until(self, found: Callable[[list[Any]], bool], within_s: float = WITHIN_S) -> list[Any]:
        """All records so far, once `found` says that they are enough."""
        deadline = time.monotonic() + within_s
        while not found(self.records):
            assert time.monotonic() < deadline, f"{self.topic.name}: {self.records[-20:]}"
            self.read(0.1)
        return self.records

    def read(self, timeout_s: float) -> None:
        """Takes in what has come."""
        for _, message in self._follower.poll(timeout_s):
            self.messages.append(message)
            if self.topic.record is not None:
                self.records.append(self._decode(message.value() or b""))

    def close(self) -> None:
        """Leaves the broker."""
        self._follower.close()


@contextmanager
def reading(settings: Settings, topic: Topic) -> Iterator[Reader]:
    """A reader that is closed at the end."""
    reader = Reader(settings, topic)
    try:
        yield reader
    finally:
        reader.close()


class Served(Reader):
    """The answers on `predictions`, watermarks left out."""

    def answers(self, request_ids: list[str], within_s: float = WITHIN_S) -> dict[str, Prediction]:
        """The first served answer to each of these requests."""
        wanted = set(request_ids)
        self.until(lambda _: wanted <= set(self.served()), within_s)
        return {name: self.served()[name][0] for name in request_ids}

    def served(self) -> dict[str, list[Prediction]]:
        """Served answers by request id, repeats included."""
        found: dict[str, list[Prediction]] = {}
        for each in self.records:
            if isinstance(each, Prediction) and each.policy == "loop":
                found.setdefault(each.request_id, []).append(each)
        return found

    def derived(self, request_id: str) -> list[Prediction]:
        """Derived answers to one request, in order."""
        return [
            each
            for each in self.records
            if isinstance(each, Prediction) and each.derived_from and each.request_id == request_id
        ]


@contextmanager
def answers_of(settings: Settings) -> Iterator[Served]:
    """A reader of `predictions`, closed at the end."""
    reader = Served(settings, topics.PREDICTIONS, PredictionRecord)
    try:
        yield reader
    finally:
        reader.close()


@dataclass
class Process:
    """A running serving process and its HTTP address."""

    child: subprocess.Popen[bytes]
    url: str
    log: Path

    def wait_ready(self) -> None:
        """Waits until `/healthz` says 200."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            assert self.child.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            try:
                if httpx.get(f"{self.url}/healthz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)

    def kill(self) -> None:
        """Ends it without warning."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(timeout=60)

    def stop(self) -> int:
        """Ends it politely; returns its exit status."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout=60)


@contextmanager
def running(
    settings: Settings,
    *arguments: str,
    clickhouse: str | None = None,
    extra: Mapping[str, str] | None = None,
    port: int = 0,
) -> Iterator[Process]:
    """`python -m serving` with these arguments, ready, on a free port unless one is named."""
    port = port or free_ports(1)[0]
    environ = {name: value for name, value in os.environ.items() if name[:9] != "SHOPLOOP_"} | {
        "SHOPLOOP_KAFKA": settings.kafka,
        "SHOPLOOP_TOPIC_PREFIX": settings.topic_prefix,
        "SHOPLOOP_HOME": settings.home,
        "SHOPLOOP_RULES": settings.rules,
    }
    environ |= extra or {}
    if clickhouse is not None:
        environ["SHOPLOOP_CLICKHOUSE"] = clickhouse
    command = [sys.executable, "-m", "serving", *arguments, "--port", str(port)]
    log = Path(settings.home) / f"log-{port}-{time.monotonic_ns()}.txt"
    with log.open("wb") as sink:
        child = subprocess.Popen(command, env=environ, stderr=sink, cwd=Path(__file__).parents[2])
    process = Process(child, f"http://127.0.0.1:{port}", log)
    try:
        process.wait_ready()
        yield process
    finally:
        if child.poll() is None:
            child.kill()
            child.wait(timeout=60)


def unexplored_id() -> str:
    """A request id outside the exploration slice, so that no answer depends on chance."""
    return next(name for name in iter(new_id, "") if not is_explored(name))


def progress_of(process: str) -> Callable[[list[Progress]], list[Progress]]:
    """Picks the records of one process."""
    return lambda records: [each for each in records if each.process == process]


def wall_ms() -> int:
    """Now."""
    return time.time_ns() // 1_000_000
