"""A real stream worker as a process, and the shop that writes to it by barriers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from confluent_kafka import Message

from adapters import kafka
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.events import EventItem, EventWatermark, PurchaseMade
from schemas.outcomes import JudgedBatch, JudgedList, Outcome, SlotRecord
from schemas.predictions import Prediction, Slot
from schemas.topics import Topic
from schemas.watermarks import Progress, Watermark

HOUR_MS = 3_600_000
START_MS = 1_300_000_000_000
WITHIN_S = 120.0
ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """`python -m streams` at these settings, `name` and windows included."""

    def __init__(self, settings: Settings, what: str = "work") -> None:
        self._what = what
        plain = Settings()
        named = {
            f"SHOPLOOP_{field.upper()}": str(getattr(settings, field))
            for field in Settings.__struct_fields__
            if getattr(settings, field) != getattr(plain, field)
        }
        self._environ = {**os.environ, **named}
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "streams", self._what], cwd=ROOT, env=self._environ
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(WITHIN_S)

    def wait(self) -> int:
        return self._process.wait(WITHIN_S)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()


class Shop:
    """Writes events, answers and barriers; reads what the streams make of them."""

    def __init__(self, settings: Settings, read: tuple[Topic, ...]) -> None:
        self.settings = settings
        kafka.ensure_topics(settings)
        self._producer = kafka.producer(settings, linger_ms=0)
        self._reader = kafka.Follower(settings, read)
        self.messages: dict[str, list[Message]] = {topic.name: [] for topic in read}

    def send(self, topic: Topic, key: str, value: bytes, partition: int = -1) -> None:
        name = kafka.topic_name(self.settings, topic)
        self._producer.produce(name, value, key, partition=partition)

    def flush(self) -> None:
        """Waits until everything is written."""
        assert self._producer.flush(WITHIN_S) == 0

    def barrier(self, number: int, at_ms: int, *, final: bool = False) -> None:
        event = EventWatermark(event_time_ms=at_ms, barrier=number, run_id="run", final=final)
        answer = Watermark(event_time_ms=at_ms, barrier=number, run_id="run", final=final)
        for topic, mark in ((topics.EVENTS, event), (topics.PREDICTIONS, answer)):
            for partition in range(topic.partitions):
                name = kafka.topic_name(self.settings, topic)
                self._producer.produce(name, encode(mark), partition=partition)
        self._producer.flush()

    def read_until(self, holds: Callable[[], bool]) -> None:
        """Reads on until the condition holds."""
        deadline = time.monotonic() + WITHIN_S
        while not holds():
            assert time.monotonic() < deadline, "the streams did not come that far in time"
            for name, message in self._reader.poll(0.2):
                self.messages[name].append(message)

    def passed(self, at_ms: int) -> Callable[[], bool]:
        """Whether the task stage has said that it passed this event time."""

        def holds() -> bool:
            said = (progress(message) for message in self.messages["progress"])
            return any(p.process == "streams.tasks" and p.watermark_ms >= at_ms for p in said)

        return holds

    def outcomes(self) -> list[Outcome]:
        decode = msgspec.json.Decoder(Outcome).decode
        return [decode(message.value() or b"") for message in self.messages["outcomes"]]

    def judged(self) -> list[JudgedList]:
        """Every judged list on `slots`, batch by batch."""
        decode = msgspec.json.Decoder(SlotRecord).decode
        records = [decode(message.value() or b"") for message in self.messages["slots"]]
        batches = [each.entries for each in records if isinstance(each, JudgedBatch)]
        return [each for batch in batches for each in batch if isinstance(each, JudgedList)]

    def close(self) -> None:
        self._reader.close()


def progress(message: Message) -> Progress:
    return msgspec.json.decode(message.value() or b"", type=Progress)


def visit(shop: Shop, number: int, visitor: str, at_ms: int) -> list[str]:
    """One visit: an answer of the loop, one of a baseline, and a purchase; the answers' ids."""
    names = [f"p{number}-{policy}" for policy in ("loop", "popular_7d")]
    for name in names:
        shop.send(topics.PREDICTIONS, visitor, encode(answer(name, visitor, at_ms)))
    shop.send(
        topics.EVENTS, visitor, encode(purchase(f"e{number}", visitor, at_ms + 1_000, names[0]))
    )
    return names


def answer(name: str, visitor: str, at_ms: int) -> Prediction:
    policy = name.rpartition("-")[2]
    return Prediction(
        prediction_id=name,
        request_id=name.partition("-")[0],
        visitor_id=visitor,
        task="recommend",
        surface="home",
        served_at_ms=at_ms,
        policy=policy,
        arm="champion" if policy == "loop" else "shadow",
        model_version="m",
        weights_version="w",
        slots=[Slot(item_id=item, position=i, score=1.0) for i, item in enumerate("abc", 1)],
    )


def purchase(name: str, visitor: str, at_ms: int, token: str | None) -> PurchaseMade:
    items = [EventItem(item_id=item, price=2.0, prediction_id=token) for item in "ax"]
    return PurchaseMade(
        event_id=name, event_time_ms=at_ms, visitor_id=visitor, transaction_id=name, items=items
    )
