"""Questions asked over Kafka: read in batches, answered, and both noted in one transaction.

Answers, dead letters and how far the questions were read are committed together: over kills and
rebalances each question has exactly one answer that readers of committed records see.
"""

import logging
import threading
import time
from collections.abc import Sequence

from confluent_kafka import Consumer, Message, TopicPartition

from adapters.kafka import group_name, raise_if_lasting, topic_name
from core.partition_share import share_of
from core.settings import Settings
from core.trace_context import traceparent_of
from schemas import topics
from schemas.codec import MAX_QUESTION_BYTES, Decoder, refused_headers
from schemas.errors import InvalidEvent, Unavailable
from schemas.predictions import RequestRecord
from serving.desk import Desk
from serving.metrics import Metrics
from serving.outbox import Outgoing
from serving.traces import Trace
from serving.transactions import Fenced, Superseded, Transactions
from serving.turns import Turns

BATCH = 32
IDLE_S = 0.5
# A commit takes some milliseconds whatever it holds; a question waits for it no longer than this.
COMMIT_WITHIN_S = 0.05
LAG_EVERY_S = 1.0

log = logging.getLogger(__name__)


class RequestLoop:
    """The member of the group `serving`."""

    def __init__(self, settings: Settings, process: str, desk: Desk, metrics: Metrics) -> None:
        self._desk = desk
        self._metrics = metrics
        self._decode = Decoder(RequestRecord, MAX_QUESTION_BYTES)
        self._refused_topic = topic_name(settings, topics.refused(topics.REQUESTS))
        self._topic = topic_name(settings, topics.REQUESTS)
        self._turns = Turns(settings, share_of(settings.served_partitions))
        self._consumer = self._turns.consumer
        self._stopping = threading.Event()
        transactional_id = group_name(settings, f"serving.{process}.requests")
        self._transactions = Transactions(settings, transactional_id, self._over)
        self._held: list[Outgoing] = []
        self._read_to: dict[int, int] = {}
        self._measured_s = 0.0

    def run(self, stopping: threading.Event) -> None:
        """Answers until stopped.

        Raises:
            Unavailable: the broker reported an error that does not pass, or another process has
                this one's name.
            BadSettings: processes of other shares answer some of the same questions.
        """
        self._stopping = stopping
        try:
            self._transactions.open()
            self._turns.begin(self._on_revoke, self._over)
            while not stopping.is_set():
                self._turn()
        except Unavailable as error:
            if not stopping.is_set():
                raise
            log.warning("questions wait for the next start: %s", error)
        finally:
            self._transactions.close()
            self._turns.close()

    def _over(self) -> bool:
        return self._stopping.is_set()

    def _turn(self) -> None:
        """Answers what has come and what follows at once, in one transaction."""
        if time.monotonic() - self._measured_s > LAG_EVERY_S:
            self._measure_lag()
        messages = self._read(IDLE_S)
        began_s = time.monotonic()
        while messages:
            self._answer(messages)
            late = time.monotonic() - began_s > COMMIT_WITHIN_S
            messages = [] if late else self._read(0)
        self._commit()

    def _read(self, timeout_s: float) -> list[Message]:
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        found = [first, *self._consumer.consume(BATCH - 1, timeout=0)]
        return [message for message in found if _usable(message)]

    def _answer(self, messages: Sequence[Message]) -> None:
        arrived_s = time.perf_counter()
        batch: list[RequestRecord] = []
        traces: list[Trace] = []
        for message in messages:
            self._read_to[int(message.partition() or 0)] = int(message.offset() or 0) + 1
            try:
                batch.append(self._desk.checked(self._decode(message.value())))
                traces += self._trace(message, batch[-1])
            except InvalidEvent as error:
                self._metrics.refused(error.reason)
                self._held.append(self._refused(message, error))
        answers = self._desk.answer(batch, arrived_s) if batch else []
        self._held.extend(map(self._desk.outgoing, batch, answers))
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

    def _commit(self, *, leaving: bool = False) -> None:
        """Sends what is held together with how far the questions were read.

        `leaving` says that the partitions are another member's from here on.
        """
        if not self._read_to:
            return
        read = [TopicPartition(self._topic, place, to) for place, to in self._read_to.items()]
        held, self._held, self._read_to = self._held, [], {}
        try:
            self._transactions.send(held, read, *self._turns.groups())
        except Superseded as error:
            log.warning("%d answers are another replica's to give: %s", len(held), error)
        except Fenced as error:
            self._transactions.reopen(error)
            if not leaving:
                self._turns.rewind()

    def _on_revoke(self, _consumer: Consumer, _places: object) -> None:
        self._commit(leaving=True)

    def _measure_lag(self) -> None:
        """Requests that wait in the partitions assigned here, as far as this client knows."""
        self._measured_s = time.monotonic()
        waiting = 0
        for place in self._consumer.position(self._consumer.assignment()):
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            waiting += max(end - place.offset, 0) if place.offset >= 0 else 0
        self._metrics.lag(topics.REQUESTS.name, waiting)


def _usable(message: Message) -> bool:
    error = message.error()
    if error is None:
        return True
    raise_if_lasting(error)
    return False
