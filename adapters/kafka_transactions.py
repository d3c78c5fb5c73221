"""Records, and how far their input was read, in one Kafka transaction: all or nothing.

Every transactional writer is one of these. It waits for a broker that is away, takes back what the
broker or the client broke and tries it anew; where the producer itself is of no more use, it says
so by `Fenced`, and another one asks the broker what became of the last transaction. It knows no
meaning of what it sends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaException, TopicPartition

from adapters.kafka import consumer, producer
from adapters.kafka_errors import SUPERSEDED
from adapters.kafka_offsets import added
from core.settings import Settings
from schemas.errors import Unavailable

STEP_S = 5.0
PAUSE_S = 0.1
RETAKEN_WITHIN_S = 120.0
STUCK_S = 20.0
REFUSED_FOR_S = 120.0
APART_S = 0.005
"""A transaction that follows the last one more closely is refused and asked for again 20 to 100 ms
later: that one's markers are not written yet."""
OPEN_AT_MOST_MS = 10_000
"""What a process that is gone had begun holds up the readers of committed records this long."""

log = logging.getLogger(__name__)


class Writable(Protocol):
    """A record to be written; its key places it unless a partition is named."""

    @property
    def topic(self) -> str:
        """Its topic's name in Kafka."""

    @property
    def key(self) -> bytes | None:
        """Its key."""

    @property
    def value(self) -> bytes | None:
        """Its value."""

    @property
    def partition(self) -> int | None:
        """Its partition; None for the key's own."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Its headers."""


class Fenced(Unavailable):
    """This producer is of no more use: another process has taken the transactional id, or the
    broker closed a transaction that took too long. The last one may be committed or not."""


class Expired(Fenced):
    """A transaction was open for longer than the broker allows, or cannot be ended any more.

    Another producer begins anew: the old one may never find its coordinator again.
    """


class Superseded(Unavailable):
    """The group has given the input to another member: nothing was committed, and it will be."""


class Transactions:
    """One transactional producer. Used by one thread.

    Args:
        settings: where the broker is.
        transactional_id: taken by `open` from whoever had it.
        give_up: asked between tries; once it says True, `Unavailable` is raised instead of another.
        linger_ms: how long a record waits for others.
        open_at_most_ms: after so long the broker aborts a transaction.
        apart_s: at least so much time from one transaction to the next.
    """

    def __init__(
        self,
        settings: Settings,
        transactional_id: str,
        give_up: Callable[[], bool],
        *,
        linger_ms: float = 1,
        open_at_most_ms: int = OPEN_AT_MOST_MS,
        apart_s: float = APART_S,
    ) -> None:
        self._settings = settings
        self._id = transactional_id
        self._give_up = give_up
        self._linger_ms = linger_ms
        self._open_at_most_ms = open_at_most_ms
        self._apart_s = apart_s
        self._taken_s = 0.0
        self._begun_s = 0.0
        self._committed_s = 0.0
        self._made()

    def open(self) -> None:
        """Takes the id and ends what an earlier holder had begun.

        Raises:
            Unavailable: the broker did not answer before giving up.
        """
        while True:
            try:
                self._tried(self._producer.init_transactions, STEP_S)
                break
            except Expired:
                self._made()
            except KafkaException as error:
                raise self._lasting(error) from error
        self._taken_s = time.monotonic()

    def reopen(self, error: Fenced) -> None:
        """Takes the id again: a broker that stood still closes what was open meanwhile.

        Of two processes of one name this leaves one: who has just taken the id gives in.

        Raises:
            Unavailable: it was taken a moment ago, and now by another; or as `open`.
        """
        by_another = not isinstance(error, Expired)
        if by_another and time.monotonic() - self._taken_s < RETAKEN_WITHIN_S:
            raise error
        why = "the transactional id was taken away" if by_another else "a transaction took too long"
        log.warning("%s: beginning anew", why)
        self._producer.purge()
        self._made()
        self.open()

    def begin(self, records: Sequence[Writable]) -> None:
        """Opens the transaction that `send` ends, and lets its records travel meanwhile.

        One that breaks is taken back, and `send` begins anew. Raises as `send`.
        """
        try:
            self._open(records)
            self._begun = True
        except KafkaException as error:
            self._recover(error)

    def send(
        self, records: Sequence[Writable], read: Sequence[TopicPartition], *groups: Any
    ) -> None:
        """Returns once the records are committed with the offsets read, of these groups.

        Args:
            records: what is sent; what `begin` was given where that was called.
            read: how far the inputs were read.
            groups: each group's metadata. They are those of the assignment: a client that is no
                member any more says it is nobody, and nobody's offsets the broker takes unasked.

        Raises:
            Superseded: the group has another generation by now.
            Fenced: the id was taken away: whether it is committed must be asked of the broker.
            Unavailable: giving up; likewise. Or the broker answers and takes it no more.
        """
        until_s = time.monotonic() + REFUSED_FOR_S
        while True:
            try:
                self._transaction(records, read, groups)
                self._committed_s = time.monotonic()
                return
            except KafkaException as error:
                self._recover(error)
                if time.monotonic() > until_s:
                    raise self._lasting(error) from error

    def clear(self, place: TopicPartition, group: str) -> None:
        """Ends what of this writer's offsets came to the broker after their transaction had ended.

        Such offsets stay open until the writer's next transaction with the group ends, and whoever
        asks the group for offsets waits for them; this is one with nothing in it, taken back.

        Args:
            place: an input of the group, whichever.
            group: the group's name in Kafka.

        Raises:
            Fenced, Unavailable: as `send`.
        """
        nobody = consumer(self._settings, group)
        try:
            self._open(())
            self._tried(self._offsets, [place], nobody.consumer_group_metadata())
            self._tried(self._producer.abort_transaction, STEP_S)
        except KafkaException as error:
            self._recover(error)
        finally:
            nobody.close()

    def close(self) -> None:
        """Forgets what was not sent."""
        self._producer.purge()

    def _made(self) -> None:
        self._begun = False
        self._producer = producer(
            self._settings,
            transactional_id=self._id,
            linger_ms=self._linger_ms,
            open_at_most_ms=self._open_at_most_ms,
        )

    def _open(self, records: Sequence[Writable]) -> None:
        time.sleep(max(0.0, self._committed_s + self._apart_s - time.monotonic()))
        self._begun_s = time.monotonic()
        self._producer.begin_transaction()
        produce, sent = self._producer.produce, 0
        while sent < len(records):
            try:
                for record in records[sent:]:
                    to = -1 if record.partition is None else record.partition
                    headers: Any = list(record.headers)
                    produce(record.topic, record.value, record.key, to, headers=headers)
                    sent += 1
            except BufferError:
                self._producer.poll(0.05)

    def _transaction(
        self, records: Sequence[Writable], read: Sequence[TopicPartition], groups: Sequence[Any]
    ) -> None:
        begun, self._begun = self._begun, False
        if not begun:
            self._open(records)
        for group in groups if read else ():
            self._tried(self._offsets, read, group)
        self._tried(self._producer.commit_transaction, STEP_S)

    def _offsets(self, read: Sequence[TopicPartition], group: Any) -> None:
        if not added(self._producer, read, group, STEP_S, STUCK_S):
            raise Expired(f"transactions of {self._id}: no answer about offsets")

    def _tried(self, call: Any, *arguments: Any) -> None:
        """Calls again as long as the client says that this is safe: its work goes on meanwhile."""
        until_s = time.monotonic() + STUCK_S
        while True:
            try:
                call(*arguments)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or self._give_up():
                    raise
                log.info("Kafka is slow: %s", error.args[0].str())
                if time.monotonic() > until_s:
                    raise Expired(f"transactions of {self._id}: {error.args[0].str()}") from error
                time.sleep(PAUSE_S)

    def _recover(self, error: KafkaException) -> None:
        """Takes the transaction back, so that it can be tried anew.

        Not only where the error asks for it: `produce` in a transaction that is broken already says
        no more than that it cannot now.
        """
        cause = error.args[0]
        log.warning("transaction failed: %s", cause.str())
        if cause.fatal() or self._give_up():
            raise self._lasting(error) from error
        if time.monotonic() - self._begun_s > self._open_at_most_ms / 1e3:
            raise Expired(f"transactions of {self._id}: {cause.str()}") from error
        try:
            self._tried(self._producer.abort_transaction, STEP_S)
        except KafkaException as second:
            if second.args[0].fatal() or self._give_up():
                raise self._lasting(second) from second
            raise Expired(f"transactions of {self._id}: {second.args[0].str()}") from second
        if cause.code() in SUPERSEDED:
            raise Superseded(cause.str()) from error
        time.sleep(PAUSE_S)

    def _lasting(self, error: KafkaException) -> Unavailable:
        cause = error.args[0]
        kind = Fenced if cause.fatal() else Unavailable
        return kind(f"transactions of {self._id}: {cause.str()}")
