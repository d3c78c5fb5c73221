"""Questions asked over Kafka: read in batches, answered, and both noted in one transaction.

Answers, dead letters and how far the questions were read are committed together: over kills and
rebalances each question has exactly one answer that readers of committed records see. A question
that cannot be answered, whether it is its own fault or a fault of ours that it brings out, is a
dead letter; what is wrong with the broker, the disk or the memory ends the process.
"""

import logging
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from adapters.kafka import group_name, topic_name
from adapters.kafka_errors import is_record
from adapters.kafka_lag import lag_of
from adapters.kafka_transactions import Fenced, Superseded, Transactions
from core.dead_letters import letter_of
from core.partition_share import share_of
from core.settings import Settings
from core.trace_context import traceparent_of
from schemas import topics
from schemas.codec import MAX_QUESTION_BYTES, Decoder, fitting
from schemas.errors import FeedbackError, InvalidEvent, Unavailable
from schemas.predictions import Prediction, RequestRecord
from serving.desk import Desk
from serving.metrics import Metrics
from serving.one_pass import Result, answered
from serving.outbox import Outgoing
from serving.traces import Trace
from serving.turns import Turns

BATCH = 32
IDLE_S = 0.5
# A commit takes some milliseconds whatever it holds; a question waits for it no longer than this.
COMMIT_WITHIN_S = 0.05
LAG_EVERY_S = 1.0
INTERNAL = "internal"

log = logging.getLogger(__name__)


class _Question(NamedTuple):
    """A request, the message that brought it, and the trace it belongs to."""

    request: RequestRecord
    message: Message
    trace: Trace | None


class RequestLoop:
    """The member of the group `serving`."""

    def __init__(self, settings: Settings, process: str, desk: Desk, metrics: Metrics) -> None:
        self._desk = desk
        self._metrics = metrics
        self._decode = Decoder(RequestRecord, MAX_QUESTION_BYTES)
        self._refused_topic = topic_name(settings, topics.refused(topics.REQUESTS))
        self._topic = topic_name(settings, topics.REQUESTS)
        self._turns = Turns(settings, share_of(settings.served_partitions))
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
            self._turns.begin(self._on_revoke, self._over, self._clear)
            while not stopping.is_set():
                self._turn()
        except Unavailable as error:
            if not stopping.is_set():
                raise
            log.warning("questions wait for the next start: %s", error)
        finally:
            # Leaving calls `_on_revoke`: what a failure left without an answer must not count.
            self._held, self._read_to = [], {}
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
        first = self._turns.consumer.poll(timeout_s)
        if first is None:
            return []
        turn = self._turns.number
        found = [first, *self._turns.consumer.consume(BATCH - 1, timeout=0)]
        if self._turns.number != turn:  # whoever's turn is next reads them from where it is said
            self._turns.begin_anew()
            return []
        return [message for message in found if is_record(message)]

    def _answer(self, messages: Sequence[Message]) -> None:
        """Holds an answer or a dead letter for each.

        Raises:
            Unavailable: an answer needs what does not answer.
            OSError: the disk refuses.
        """
        arrived_s = time.perf_counter()
        asked = [found for message in messages if (found := self._question(message)) is not None]
        given = self._given(asked, self._results(asked, arrived_s)) if asked else []
        self._metrics.answered("kafka", given, time.perf_counter() - arrived_s)
        for question in asked:
            if question.trace is not None:
                self._desk.traces.end(question.trace)

    def _question(self, message: Message) -> _Question | None:
        """The question that a message asks; None when it is refused."""
        self._read_to[int(message.partition() or 0)] = int(message.offset() or 0) + 1
        try:
            request = self._desk.checked(self._decode(message.value()))
            return _Question(request, message, self._trace(message, request))
        except Exception as error:  # noqa: BLE001 — a dead letter, or the end
            self._refuse(message, error)
            return None

    def _results(self, asked: Sequence[_Question], arrived_s: float) -> list[Result]:
        requests = [question.request for question in asked]
        return answered(self._desk.answer, requests, [arrived_s] * len(asked))

    def _given(self, asked: Sequence[_Question], results: Iterable[Result]) -> list[Prediction]:
        """The answers that are held now; for what is none, a dead letter is."""
        given: list[Prediction] = []
        for question, result in zip(asked, results, strict=True):
            try:
                if isinstance(result, Exception):
                    raise result
                outgoing = self._desk.outgoing(question.request, result)
                fitting(outgoing.value, outgoing.headers)
            except Exception as error:  # noqa: BLE001 — a dead letter, or the end
                self._refuse(question.message, error)
            else:
                self._held.append(outgoing)
                given.append(result)
        return given

    def _trace(self, message: Message, request: RequestRecord) -> Trace | None:
        """The trace that the asker began, or one of our own; none where there is none to keep."""
        traces = self._desk.traces
        found = traces.begin("request", "consumer", traceparent_of(message.headers()))
        if found is not None:
            traces.keep(request.request_id, found)
        return found

    def _refuse(self, message: Message, error: Exception) -> None:
        """Holds a dead letter, where the fault is the message's or one of ours that it brings out.

        Raises:
            Exception: the error, where it is of something else.
        """
        refusal = _refusal(error)
        origin = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        if refusal is not error:
            log.error("%s could not be answered", origin, exc_info=error)
        self._metrics.refused(refusal.reason)
        own: Any = message.headers() or []
        letter = letter_of(message.key(), message.value(), own, refusal, origin)
        self._held.append(Outgoing(self._refused_topic, *letter))

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
                self._turns.begin_anew()

    def _clear(self, place: TopicPartition) -> None:
        try:
            self._transactions.clear(place, self._turns.kept_in)
        except Fenced as error:
            self._transactions.reopen(error)

    def _on_revoke(self, _consumer: Consumer, _places: object) -> None:
        self._commit(leaving=True)

    def _measure_lag(self) -> None:
        """Requests that wait in the partitions assigned here, as far as this client knows."""
        self._measured_s = time.monotonic()
        read = self._turns.consumer.position(self._turns.consumer.assignment())
        known = {(at.topic, at.partition): at.offset for at in read if at.offset >= 0}
        self._metrics.lag(topics.REQUESTS.name, lag_of(self._turns.consumer, known))


def _refusal(error: Exception) -> InvalidEvent:
    """Why a message is refused; an error that another message would meet as well is raised."""
    match error:
        case InvalidEvent():
            return error
        case FeedbackError() | KafkaException() | OSError() | MemoryError():
            raise error
    kind = type(error).__qualname__
    return InvalidEvent(INTERNAL, f"answering it failed: {kind}; the log says where")
