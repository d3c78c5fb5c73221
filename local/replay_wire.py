"""What a replay writes to Kafka and what it reads back.

Writes events, catalogue rows, requests, watermarks and one order; reads answers, progress,
retrains and the version history, decoding only the fields that it needs. Waits for nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from confluent_kafka import KafkaError, Message, TopicPartition

from adapters import kafka
from core.replay_plan import Broken, Offered
from core.settings import Settings
from schemas import topics
from schemas.codec import cloud_headers, encode
from schemas.errors import Unavailable
from schemas.events import EventWatermark, ShopEvent
from schemas.models import Command, ModelLog, Order, Publish, Retrain
from schemas.predictions import RecommendRequest
from schemas.topics import Topic
from schemas.watermarks import Progress, Watermark

SOURCE = "shoploop/replay"
_FLUSH_WITHIN_S = 30.0
_HEARTBEATS = 200


class Sender:
    """Produces a replay's records; `flush` returns when the broker has all of them."""

    def __init__(self, settings: Settings, run_id: str) -> None:
        # `flush` sends at once what lingers: one request a partition and barrier.
        self._producer = kafka.producer(settings, linger_ms=50)
        self._names = {topic.name: kafka.topic_name(settings, topic) for topic in topics.ALL}
        self._run_id = run_id
        self._failed = ""
        self.events = 0

    def event(self, event: ShopEvent, raw: bytes | None = None) -> None:
        """One event, as `raw` when it is to travel untouched."""
        self.events += 1
        name = str(event.__struct_config__.tag)
        self._send(
            topics.EVENTS,
            event.visitor_id.encode(),
            raw or encode(event),
            cloud_headers(name, event.event_id, SOURCE),
        )

    def broken(self, record: Broken) -> None:
        """A line that is no event, untouched."""
        self.events += 1
        self._send(topics.EVENTS, record.key, record.raw)

    def item(self, offered: Offered) -> None:
        """One catalogue row."""
        self._send(topics.ITEMS, offered.item.item_id.encode(), encode(offered.item))

    def request(self, request: RecommendRequest) -> None:
        """One question."""
        self._send(topics.REQUESTS, request.visitor_id.encode(), encode(request))

    def order(self, order: Order) -> None:
        """One order to the decider."""
        self._send(topics.COMMANDS, order.task.encode(), encode(order))

    def watermark(self, event_time_ms: int, barrier: int, *, final: bool = False) -> None:
        """Closes event time on every partition of `events` and `predictions`."""
        event_mark = encode(
            EventWatermark(
                event_time_ms=event_time_ms, barrier=barrier, run_id=self._run_id, final=final
            )
        )
        mark = encode(
            Watermark(
                event_time_ms=event_time_ms, barrier=barrier, run_id=self._run_id, final=final
            )
        )
        for topic, record in ((topics.EVENTS, event_mark), (topics.PREDICTIONS, mark)):
            for partition in range(topic.partitions):
                self._producer.produce(
                    self._names[topic.name],
                    record,
                    partition=partition,
                    on_delivery=self._delivered,
                )

    def flush(self) -> None:
        """Waits until all is acknowledged.

        Raises:
            Unavailable: the broker did not take everything in time.
        """
        left = self._producer.flush(_FLUSH_WITHIN_S)
        if left or self._failed:
            why = self._failed or f"{left} records not taken in {_FLUSH_WITHIN_S:.0f} s"
            raise Unavailable(f"Kafka did not take the replay's records: {why}")

    def _send(self, topic: Topic, key: bytes, value: bytes, headers: Any = None) -> None:
        name = self._names[topic.name]
        extra: dict[str, Any] = {"headers": headers, "on_delivery": self._delivered}
        try:
            self._producer.produce(name, value, key=key, **extra)
        except BufferError:
            self.flush()
            self._producer.produce(name, value, key=key, **extra)
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = f"{message.topic()}: {error.str()}"


class _SlotItem(msgspec.Struct):
    item_id: str


class Answer(msgspec.Struct):
    """The fields of a prediction that a replay needs; a watermark decodes to no request id."""

    request_id: str = ""
    prediction_id: str = ""
    policy: str = ""
    model_version: str = ""
    weights_version: str = ""
    arm: str = ""
    slots: list[_SlotItem] = []

    @property
    def item_ids(self) -> list[str]:
        """The list, first place first."""
        return [slot.item_id for slot in self.slots]


class Inbox:
    """Everything a replay reads, from now on, in one consumer."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = kafka.consumer(settings, None)
        read = (
            topics.PREDICTIONS,
            topics.PROGRESS,
            topics.COMMANDS,
            topics.RETRAIN,
            topics.MODEL_LOG,
        )
        self._bare = {kafka.topic_name(settings, topic): topic.name for topic in read}
        places = []
        for topic in read:
            for number, end in kafka.end_offsets(settings, self._consumer, topic).items():
                back = _HEARTBEATS if topic is topics.PROGRESS else 0
                places.append(
                    TopicPartition(kafka.topic_name(settings, topic), number, max(0, end - back))
                )
        self._consumer.assign(places)
        self._take = {
            topics.PREDICTIONS.name: self._take_answer,
            topics.PROGRESS.name: self._take_progress,
            topics.COMMANDS.name: self._take_command,
            topics.RETRAIN.name: self._take_retrain,
            topics.MODEL_LOG.name: self._take_log,
        }
        self._answer = msgspec.json.Decoder(Answer).decode
        self._progress = msgspec.json.Decoder(Progress).decode
        self._command = msgspec.json.Decoder(Command).decode
        self._retrain = msgspec.json.Decoder(Retrain).decode
        self._log = msgspec.json.Decoder(ModelLog).decode
        self.answers: dict[str, dict[str, Answer]] = {}
        self.predictions = 0
        self.progress: dict[str, Progress] = {}
        self.published: dict[str, Publish] = {}
        self.retrains: dict[str, list[Retrain]] = {}
        self.log: list[ModelLog] = []

    def poll(self, timeout_s: float) -> bool:
        """Takes in what has come; false when nothing came in time.

        Raises:
            Unavailable: the broker reported an error that does not pass by itself.
        """
        first = self._consumer.poll(timeout_s)
        if first is None:
            return False
        for message in (first, *self._consumer.consume(1_000, timeout=0)):
            self._dispatch(message)
        return True

    def close(self) -> None:
        """Leaves the broker."""
        self._consumer.close()

    def _dispatch(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            kafka.raise_if_lasting(error)
            return
        value = message.value()
        if value is not None:
            self._take[self._bare[str(message.topic())]](value)

    def _take_answer(self, value: bytes) -> None:
        answer = self._answer(value)
        if answer.request_id:
            self.predictions += 1
            self.answers.setdefault(answer.request_id, {})[answer.policy] = answer

    def _take_progress(self, value: bytes) -> None:
        progress = self._progress(value)
        self.progress[progress.process] = progress

    def _take_command(self, value: bytes) -> None:
        command = self._command(value)
        if isinstance(command, Publish):
            self.published[command.retrain_id] = command

    def _take_retrain(self, value: bytes) -> None:
        retrain = self._retrain(value)
        self.retrains.setdefault(retrain.retrain_id, []).append(retrain)

    def _take_log(self, value: bytes) -> None:
        self.log.append(self._log(value))
