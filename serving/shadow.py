"""The shadow: reads served answers, writes what every other policy would have answered.

It costs the shopper no latency. Its state stands where the served answer's stood: in replay it
applies a barrier's events once `predictions` has passed the barrier too; in live time it applies
nothing newer than the answers that still wait for it.
"""

import logging
import threading
import time
from collections import deque

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from adapters.kafka import consumer, group_name, topic_name
from adapters.kafka_errors import is_record
from adapters.kafka_offsets import committed
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder, cloud_headers, encode
from schemas.errors import InvalidEvent
from schemas.predictions import SERVED_ARMS, Prediction
from schemas.watermarks import Watermark
from serving.derive import ServedAnswer, derive
from serving.metrics import Metrics
from serving.outbox import Delivery, Outbox, Outgoing
from serving.rules_file import RulesFile
from serving.state import Live

PROCESS = "shadow"
BATCH = 64
IDLE_S = 0.05
ACKNOWLEDGED_WITHIN_S = 30.0
PLACED_WITHIN_S = 60.0
UNACKNOWLEDGED_BATCHES = 16  # a batch may be one record; few of those would wait for the broker
_DERIVED = b'"derived_from":'
_NAME = topics.PREDICTIONS.name

log = logging.getLogger(__name__)


class ShadowLoop:
    """The member of the group `shadow`."""

    def __init__(
        self,
        settings: Settings,
        live: Live,
        outbox: Outbox,
        metrics: Metrics,
        rules: RulesFile | None = None,
    ) -> None:
        self._live = live
        self._rules = rules
        self._outbox = outbox
        self._metrics = metrics
        self._task = settings.task
        self._topic = topic_name(settings, topics.PREDICTIONS)
        self._decode = Decoder(ServedAnswer | Watermark)
        self._consumer: Consumer = consumer(settings, group_name(settings, "shadow"))
        self._places = Places(self._topic)
        self._stopping = threading.Event()
        self._sent: deque[tuple[Delivery, list[Message]]] = deque()

    def recall(self) -> None:
        """Takes up the barriers at which the group left off; called before the state is read.

        Raises:
            Unavailable: the broker did not answer.
        """
        self._expect(range(topics.PREDICTIONS.partitions))

    def run(self, stopping: threading.Event) -> None:
        """Scores until stopped, once the state has been read and the versions are loaded.

        Raises:
            Unavailable: the broker reported an error that does not pass, or took no answers.
        """
        self._stopping = stopping
        while not self._live.ready:
            if stopping.wait(0.02):
                return
        self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked)
        try:
            while not stopping.is_set():
                self._turn()
            self._settle(0)
            self._commit()
        finally:
            self._consumer.close()

    def _turn(self) -> None:
        first = self._consumer.poll(IDLE_S)
        if first is None:
            self._settle(0)
            self._commit()
            with self._live.lock:
                self._live.advance()
            return
        messages = [first, *self._consumer.consume(BATCH - 1, timeout=0)]
        usable = [message for message in messages if is_record(message)]
        self._sent.append((self._outbox.send(self._scored(usable)), usable))
        self._settle(UNACKNOWLEDGED_BATCHES)

    def _scored(self, messages: list[Message]) -> list[Outgoing]:
        """Scores up to each watermark with the state that holds there."""
        outgoing: list[Outgoing] = []
        served: list[tuple[ServedAnswer, int]] = []
        for message in messages:
            record, partition = self._record(message), int(message.partition() or 0)
            if isinstance(record, Watermark):
                outgoing.extend(self._derive(served))
                served = []
                self._pass(partition, record)
            elif record is not None:
                served.append((record, partition))
        return outgoing + self._derive(served)

    def _record(self, message: Message) -> ServedAnswer | Watermark | None:
        """A served answer of this task or a watermark; None for all else."""
        value = message.value()
        if value is not None and _DERIVED in value:
            return None
        try:
            record: ServedAnswer | Watermark = self._decode(value)
        except InvalidEvent as error:
            self._metrics.refused(error.reason)
            return None
        if isinstance(record, Watermark):
            return record
        is_ours = record.task == self._task and record.arm in SERVED_ARMS
        return record if is_ours else None

    def _derive(self, placed: list[tuple[ServedAnswer, int]]) -> list[Outgoing]:
        """The derived answers, each in the partition of the served one."""
        if not placed:
            return []
        served = [prediction for prediction, _ in placed]
        place = {prediction.prediction_id: partition for prediction, partition in placed}
        with self._live.lock:
            self._live.advance(min(prediction.context.seen_ms for prediction in served))
            book = self._rules.book if self._rules is not None else None
            answers = derive(self._live.state, self._live.versions.engine, served, PROCESS, book)
        self._metrics.derived(answers)
        return [self._outgoing(each, place[str(each.derived_from)]) for each in answers]

    def _outgoing(self, prediction: Prediction, partition: int) -> Outgoing:
        headers = cloud_headers("prediction", prediction.prediction_id, PROCESS)
        key = prediction.visitor_id.encode()
        return Outgoing(self._topic, key, encode(prediction), headers, partition)

    def _pass(self, partition: int, mark: Watermark) -> None:
        self._places.marks[partition] = mark
        with self._live.lock:
            self._live.merge.mark(_NAME, partition, mark)
            if self._live.merge.in_replay:
                self._live.advance()

    def _settle(self, allowed: int) -> None:
        """Notes the offsets of acknowledged batches, oldest first; waits if too many are not."""
        while self._sent and (len(self._sent) > allowed or self._sent[0][0].done):
            delivery, messages = self._sent.popleft()
            while not delivery.done_within(1.0) and not self._stopping.is_set():
                log.info("Kafka is slow: records are not acknowledged")
            delivery.wait(ACKNOWLEDGED_WITHIN_S)
            self._places.passed(messages)

    def _commit(self) -> None:
        places = self._places.to_commit()
        if not places:
            return
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            log.warning("offsets are not committed, answers may repeat: %s", error)

    def _assigned(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        self._expect([place.partition for place in places])

    def _revoked(self, _consumer: Consumer, _assigned: list[TopicPartition]) -> None:
        self._settle(0)
        self._commit()

    def _expect(self, partitions: range | list[int]) -> None:
        """These partitions have a say in when events apply, from where the group left them."""
        wanted = [TopicPartition(self._topic, number) for number in partitions]
        until_s = time.monotonic() + PLACED_WITHIN_S
        found = committed(self._consumer, wanted, lambda: time.monotonic() > until_s)
        self._places = Places(self._topic, found)
        with self._live.lock:
            self._live.merge.expect(_NAME, partitions)
            for partition, mark in self._places.marks.items():
                self._live.merge.mark(_NAME, partition, mark)


class Places:
    """How far each partition has been answered, and the watermark it had passed there.

    The watermark travels as the metadata of the committed offset, so that a restart in the middle
    of a replay knows which barrier it stands at.
    """

    def __init__(self, topic: str, committed: list[TopicPartition] | None = None) -> None:
        decode = Decoder(Watermark)
        self._topic = topic
        self._next: dict[int, int] = {}
        self.marks: dict[int, Watermark] = {
            place.partition: decode(place.metadata.encode())
            for place in committed or []
            if place.metadata
        }

    def passed(self, messages: list[Message]) -> None:
        """Notes that everything up to these messages is answered."""
        for message in messages:
            self._next[int(message.partition() or 0)] = int(message.offset() or 0) + 1

    def to_commit(self) -> list[TopicPartition]:
        """What has moved since the last call, as the broker takes it."""
        places = [self._place(partition, offset) for partition, offset in self._next.items()]
        self._next.clear()
        return places

    def _place(self, partition: int, offset: int) -> TopicPartition:
        mark = self.marks.get(partition)
        metadata = encode(mark).decode() if mark is not None and not mark.final else ""
        return TopicPartition(self._topic, partition, offset, metadata)
