"""The smallest loop that keeps the barrier protocol: it answers, closes barriers, and remembers.

It reads what a replay writes and says what the processes of the loop would say on `predictions`,
`commands` and `progress`, always with the same list.
"""

from __future__ import annotations

import threading
import time

from adapters import kafka
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder, encode
from schemas.events import EventRecord, EventWatermark
from schemas.models import Command, Gate, Order, Publish
from schemas.predictions import Prediction, RecommendRequest, Slot
from schemas.watermarks import Progress

VERSION = "v1"
FOLLOWERS = ("streams.visitors", "streams.tasks", "serving-1", "shadow")


class EchoLoop:
    """Runs in a thread while entered; `seen` holds (topic, record) in the order read."""

    def __init__(self, settings: Settings, listed: list[str]) -> None:
        self.seen: list[tuple[str, object]] = []
        self._settings = settings
        self._listed = listed
        self._producer = kafka.producer(settings)
        self._decoders = {
            "events": Decoder(EventRecord),
            "requests": Decoder(RecommendRequest),
            "commands": Decoder(Command),
        }
        self._ends = dict.fromkeys(range(topics.EVENTS.partitions), 0)
        self._live: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.events: list[bytes] = []

    def __enter__(self) -> EchoLoop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        follower = kafka.Follower(self._settings, [topics.EVENTS, topics.REQUESTS, topics.COMMANDS])
        said_s = 0.0
        while not self._stop.is_set():
            for name, message in follower.poll(0.02):
                self._take(name, message)
            if time.monotonic() - said_s > 0.5:
                said_s = time.monotonic()
                self._say_progress()
        follower.close()
        self._producer.flush(60)

    def _take(self, name, message) -> None:
        record = self._decoders[name](message.value())
        self.seen.append((name, record))
        match record:
            case EventWatermark():
                self._ends[message.partition()] = record.event_time_ms
                self._say_progress()
            case RecommendRequest():
                self._answer(record)
            case Order():
                self._live = {record.task: VERSION}
                self._send(
                    topics.COMMANDS,
                    Publish(
                        command_id="c",
                        task=record.task,
                        retrain_id="r",
                        event_time_ms=record.event_time_ms,
                        model_version=VERSION,
                        gate=Gate(passed=True),
                    ),
                )
                self._say_progress()

    def _answer(self, request: RecommendRequest) -> None:
        for policy in ("loop", "control"):
            self._send(
                topics.PREDICTIONS,
                Prediction(
                    prediction_id=f"{policy}-{request.request_id}",
                    request_id=request.request_id,
                    visitor_id=request.visitor_id,
                    task=request.task,
                    surface=request.surface,
                    served_at_ms=request.as_of_ms or 0,
                    policy=policy,
                    arm="champion" if policy == "loop" else "control",
                    model_version=VERSION,
                    weights_version="",
                    slots=[
                        Slot(item_id=item_id, position=place, score=1.0)
                        for place, item_id in enumerate(self._listed)
                    ],
                ),
            )

    def _say_progress(self) -> None:
        for process in FOLLOWERS:
            self._send(
                topics.PROGRESS,
                Progress(process=process, watermark_ms=min(self._ends.values()), live=self._live),
            )

    def _send(self, topic, record) -> None:
        self._producer.produce(kafka.topic_name(self._settings, topic), encode(record))
        self._producer.poll(0)
