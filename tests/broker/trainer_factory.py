"""A made-up shop's events in Kafka and ClickHouse, and a trainer process to run or to kill."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from sink_factory import ROOT, running_sink

from adapters.clickhouse import connected
from adapters.kafka import Follower, consumer, end_offsets, ensure_topics, producer, topic_name
from adapters.tables_migrate import migrate
from adapters.tables_progress import wait_sunk
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder, encode
from schemas.errors import InvalidEvent
from schemas.events import EventItem, PurchaseMade
from schemas.items import Item
from schemas.models import Publish, Retrain
from schemas.topics import Topic

WITHIN_S = 240.0
POLL_S = 0.3
DAYS = 40


def _shop_factory() -> ModuleType:
    path = Path(__file__).parents[1] / "unit" / "shop_factory.py"
    spec = importlib.util.spec_from_file_location("shop_factory", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["shop_factory"] = module
    spec.loader.exec_module(module)
    return module


shop = _shop_factory()


class Decider:
    """What the decider would write and read beside a trainer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        ensure_topics(settings)
        self._producer = producer(settings)

    def fill(self, days: int = DAYS) -> dict[str, int]:
        """Writes the shop's events and catalogue and sinks them; the next offsets."""
        for row in shop.catalogue():
            item = Item(
                item_id=row.item_id, title=row.title, price=row.price, updated_at_ms=row.at_ms
            )
            self.write(topics.ITEMS, row.item_id, item)
        for one in shop.orders(days):
            purchase = PurchaseMade(
                event_id=one.event_id,
                event_time_ms=one.at_ms,
                visitor_id=one.visitor_id,
                transaction_id=one.event_id,
                items=[EventItem(item_id=item) for item in one.item_ids],
            )
            self.write(topics.EVENTS_VALID, one.visitor_id, purchase)
        assert self._producer.flush(60) == 0
        offsets = self.offsets()
        with running_sink(self.settings), connected(self.settings.clickhouse) as client:
            migrate(client)
            wait_sunk(client, offsets, self.settings.topic_prefix, within_s=WITHIN_S)
        return offsets

    def offsets(self) -> dict[str, int]:
        """The next offset of every partition that training data comes from."""
        reader = consumer(self.settings, None)
        try:
            return {
                f"{topic.name}/{number}": offset
                for topic in (topics.EVENTS_VALID, topics.ITEMS)
                for number, offset in end_offsets(self.settings, reader, topic).items()
            }
        finally:
            reader.close()

    def accept(self, offsets: dict[str, int], **changes: Any) -> Retrain:
        """Writes an accepted retrain of the whole shop."""
        until_ms = shop.START_MS + DAYS * shop.DAY_MS
        retrain = Retrain(
            retrain_id="r1",
            task="recommend",
            state="accepted",
            kind="bootstrap",
            reason="first version",
            event_time_ms=until_ms,
            data_until_ms=until_ms,
            offsets=offsets,
        )
        retrain = msgspec.structs.replace(retrain, **changes)
        self.write(topics.RETRAIN, retrain.task, retrain)
        assert self._producer.flush(60) == 0
        return retrain

    def write(self, topic: Topic, key: str, record: Any) -> None:
        """Queues one record; bytes go as they are."""
        value = record if isinstance(record, bytes) else encode(record)
        self._producer.produce(topic_name(self.settings, topic), value, key.encode())

    def read(self, topic: Topic) -> list[Any]:
        """Everything on a topic that decodes."""
        decode = Decoder(topic.record)
        reader = Follower(self.settings, (topic,))
        try:
            found = reader.catch_up(WITHIN_S)
        finally:
            reader.close()
        records = []
        for _, message in found:
            with suppress(InvalidEvent):
                records.append(decode(message.value()))
        return records

    def published(self) -> list[Publish]:
        """Every Publish so far."""
        return [record for record in self.read(topics.COMMANDS) if isinstance(record, Publish)]

    def states(self, retrain_id: str) -> list[str]:
        """The states of one retrain, in order."""
        records = self.read(topics.RETRAIN)
        return [record.state for record in records if record.retrain_id == retrain_id]


def start_trainer(settings: Settings, log: Path) -> subprocess.Popen[bytes]:
    """The trainer as a process of its own."""
    environ = {
        **os.environ,
        "SHOPLOOP_KAFKA": settings.kafka,
        "SHOPLOOP_CLICKHOUSE": settings.clickhouse,
        "SHOPLOOP_TOPIC_PREFIX": settings.topic_prefix,
        "SHOPLOOP_HOME": settings.home,
    }
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "trainer"], cwd=ROOT, env=environ, stdout=out, stderr=out
        )


@contextmanager
def running_trainer(settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A trainer that is stopped at the end, and must then end well."""
    process = start_trainer(settings, log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    assert status == 0, log.read_text()


def until(condition: Callable[[], Any], log: Path) -> Any:
    """The first true answer, before a deadline."""
    deadline = time.monotonic() + WITHIN_S
    while not (answer := condition()):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(POLL_S)
    return answer
