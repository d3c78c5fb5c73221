"""Questions asked over Kafka: read in batches, answered, logged to `predictions`.

Offsets are committed after the broker has the answers, so a crash repeats answers and loses none;
a repeat carries the same prediction id, by which readers drop it.
"""

import logging
import threading
import time
from collections import deque

from confluent_kafka import Consumer, KafkaException, Message

from adapters.kafka import consumer, group_name, raise_if_lasting, topic_name
from core.settings import Settings
from core.trace_context import traceparent_of
from schemas import topics
from schemas.codec import Decoder, refused_headers
from schemas.errors import InvalidEvent
from schemas.predictions import RequestRecord
from serving.desk import Desk
from serving.metrics import Metrics
from serving.outbox import Delivery, Outbox, Outgoing
from serving.traces import Trace

BATCH = 32
IDLE_S = 0.5
UNACKNOWLEDGED_BATCHES = 16  # a batch may be one record; few of those would wait for the broker
ACKNOWLEDGED_WITHIN_S = 30.0
COMMIT_EVERY_S = 0.25
LAG_EVERY_S = 1.0

log = logging.getLogger(__name__)


class RequestLoop:
    """The member of the group `serving`."""

    def __init__(self, settings: Settings, desk: Desk, outbox: Outbox, metrics: Metrics) -> None:
        self._desk = desk
        self._outbox = outbox
        self._metrics = metrics
        self._decode = Decoder(RequestRecord)
        self._refused_topic = topic_name(settings, topics.refused(topics.REQUESTS))
        self._topic = topic_name(settings, topics.REQUESTS)
        self._consumer: Consumer = consumer(settings, group_name(settings, "serving"))
        self._sent: deque[tuple[Delivery, list[Message]]] = deque()
        self._dirty = False
        self._committed_s = 0.0
        self._measured_s = 0.0

    def run(self, stopping: threading.Event) -> None:
        """Answers until stopped.

        Raises:
            Unavailable: the broker reported an error that does not pass, or took no answers.
        """
        self._consumer.subscribe([self._topic], on_revoke=self._on_revoke)
        try:
            while not stopping.is_set():
                self._turn()
            self._settle(0)
            self._commit()
        finally:
            self._consumer.close()

    def _measure_lag(self) -> None:
        """Requests that wait in the partitions assigned here, as far as this client knows."""
        self._measured_s = time.monotonic()
        waiting = 0
        for place in self._consumer.position(self._consumer.assignment()):
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            waiting += max(end - place.offset, 0) if place.offset >= 0 else 0
        self._metrics.lag(topics.REQUESTS.name, waiting)

    def _turn(self) -> None:
        if time.monotonic() - self._measured_s > LAG_EVERY_S:
            self._measure_lag()
        first = self._consumer.poll(COMMIT_EVERY_S if self._sent or self._dirty else IDLE_S)
        if first is None:
            self._settle(0)
            self._commit()
            return
        arrived_s = time.perf_counter()
        messages = [first, *self._consumer.consume(BATCH - 1, timeout=0)]
        self._answer([message for message in messages if _usable(message)], arrived_s)
        self._settle(UNACKNOWLEDGED_BATCHES)
        if time.monotonic() - self._committed_s > COMMIT_EVERY_S:
            self._commit()

    def _answer(self, messages: list[Message], arrived_s: float) -> None:
        batch: list[RequestRecord] = []
        outgoing: list[Outgoing] = []
        traces: list[Trace] = []
        for message in messages:
            try:
                batch.append(self._desk.checked(self._decode(message.value())))
                traces += self._trace(message, batch[-1])
            except InvalidEvent as error:
                self._metrics.refused(error.reason)
                outgoing.append(self._refused(message, error))
        answers = self._desk.answer(batch, arrived_s) if batch else []
        outgoing.extend(map(self._desk.outgoing, batch, answers))
        self._sent.append((self._outbox.send(outgoing), messages))
        self._metrics.answered("kafka", answers, time.perf_counter() - arrived_s)
        for trace in traces:
            self._desk.traces.end(trace)

    def _trace(self, message: Message, request: RequestRecord) -> list[Trace]:
        """The trace that the asker began, or one of our own; none where there is none to keep."""
        traces = self._desk.traces
        found = traces.begin("request", "consumer", traceparent_of(message.headers()))
        if found is None:
            return []
        traces.keep(request.request_id, found)
        return [found]

    def _refused(self, message: Message, error: InvalidEvent) -> Outgoing:
        origin = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        return Outgoing(
            self._refused_topic, message.key(), message.value(), refused_headers(error, origin)
        )

    def _settle(self, allowed: int) -> None:
        """Stores the offsets of acknowledged batches, oldest first; waits if too many are not."""
        while self._sent and (len(self._sent) > allowed or self._sent[0][0].done):
            delivery, messages = self._sent.popleft()
            delivery.wait(ACKNOWLEDGED_WITHIN_S)
            for message in messages:
                self._consumer.store_offsets(message)
            self._dirty = True

    def _commit(self) -> None:
        """Commits what has been answered and acknowledged, nothing else."""
        self._committed_s = time.monotonic()
        if not self._dirty:
            return
        self._dirty = False
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as error:
            log.warning("offsets are not committed, answers may repeat: %s", error)

    def _on_revoke(self, _consumer: Consumer, _places: object) -> None:
        self._settle(0)
        self._commit()


def _usable(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    raise_if_lasting(error)
    return False
