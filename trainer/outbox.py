"""Records the trainer writes: what it offers, how far a retrain is, and its heartbeat."""

from __future__ import annotations

import threading
from typing import Any

import msgspec

from adapters.clock import wall_ms
from adapters.kafka import producer, topic_name
from core.settings import Settings
from schemas import topics
from schemas.codec import cloud_headers, encode
from schemas.errors import Unavailable
from schemas.models import Publish, Retrain
from schemas.topics import Topic
from schemas.watermarks import Progress

PROCESS = "trainer"
HEARTBEAT_S = 1.0
CONFIRMED_WITHIN_S = 330.0  # the client gives a record up after five minutes


class Outbox:
    """Writes records and waits until Kafka has them; beats while the trainer is at work."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = producer(settings)
        self._progress = Progress(process=PROCESS, watermark_ms=0, ready=False)
        self._stop = threading.Event()
        self._beat = threading.Thread(target=self._beats, name="heartbeat", daemon=True)
        self._beat.start()

    def progress(self, **changes: Any) -> None:
        """Changes what the heartbeat says, and says it now."""
        self._progress = msgspec.structs.replace(self._progress, **changes)
        self._say()

    def retrain(self, record: Retrain) -> None:
        """Says how far a retrain is; raises Unavailable."""
        self._write(topics.RETRAIN, record, f"{record.retrain_id}/{record.state}")

    def publish(self, record: Publish) -> None:
        """Offers a version, or says that there is none; raises Unavailable."""
        self._write(topics.COMMANDS, record, record.command_id)

    def close(self) -> None:
        """Stops beating and sends what is left."""
        self._stop.set()
        self._beat.join(timeout=2 * HEARTBEAT_S)
        self._producer.flush(5)

    def _write(self, topic: Topic, record: Retrain | Publish, record_id: str) -> None:
        failures: list[str] = []

        def delivered(error: Any, _message: Any) -> None:
            if error is not None:
                failures.append(str(error))

        self._producer.produce(
            topic_name(self._settings, topic),
            key=record.task.encode(),
            value=encode(record),
            headers=list(cloud_headers(topic.name, record_id, PROCESS)),
            on_delivery=delivered,
        )
        left = self._producer.flush(CONFIRMED_WITHIN_S)
        if left or failures:
            reason = failures[0] if failures else f"not within {CONFIRMED_WITHIN_S:g} s"
            raise Unavailable(f"{topic.name} was not written: {reason}")

    def _beats(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            self._say()

    def _say(self) -> None:
        record = msgspec.structs.replace(self._progress, wall_ms=wall_ms())
        self._producer.produce(
            topic_name(self._settings, topics.PROGRESS), key=PROCESS.encode(), value=encode(record)
        )
        self._producer.poll(0)
