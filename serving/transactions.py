"""Records, and how far their input was read, in one Kafka transaction: all or nothing.

Waits for a broker that is away for as long as it is allowed to. It knows no meaning of what it
sends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from adapters.kafka import producer
from core.settings import Settings
from schemas.errors import Unavailable
from serving.outbox import Outgoing

STEP_S = 5.0
PAUSE_S = 0.1
RETAKEN_WITHIN_S = 120.0
STUCK_S = 20.0
APART_S = 0.005
"""A transaction that follows the last one more closely is refused and asked for again 20 to 100 ms
later: that one's markers are not written yet."""
OPEN_AT_MOST_MS = 10_000
"""What a process that is gone had begun holds up the readers of committed records this long."""

log = logging.getLogger(__name__)


class Fenced(Unavailable):
    """Another process has taken the transactional id, or the broker closed a transaction that took
    too long."""


class Expired(Fenced):
    """A transaction was open for longer than the broker allows: it has been, or will be, aborted.

    Another producer begins anew: the old one may never find its coordinator again.
    """


class Superseded(Unavailable):
    """The group has given the input to another member: nothing was committed, and it will be."""


_SUPERSEDED = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.FENCED_INSTANCE_ID,
    }
)


class Transactions:
    """One transactional producer. Used by one thread.

    Args:
        settings: where the broker is.
        transactional_id: taken by `open` from whoever had it.
        give_up: asked between tries; once it says True, `Unavailable` is raised instead of another.
    """

    def __init__(
        self, settings: Settings, transactional_id: str, give_up: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._id = transactional_id
        self._give_up = give_up
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

    def send(
        self, records: Sequence[Outgoing], read: Sequence[TopicPartition], *groups: Any
    ) -> None:
        """Returns once the records are committed with the offsets read, of these groups.

        Raises:
            Superseded: the group has another generation by now.
            Fenced: the id was taken away: whether it is committed must be asked of the broker.
            Unavailable: giving up; likewise.
        """
        while True:
            try:
                time.sleep(max(0.0, self._committed_s + APART_S - time.monotonic()))
                self._transaction(records, read, groups)
                self._committed_s = time.monotonic()
                return
            except KafkaException as error:
                self._recover(error)

    def close(self) -> None:
        """Forgets what was not sent."""
        self._producer.purge()

    def _made(self) -> None:
        self._producer = producer(
            self._settings, transactional_id=self._id, open_at_most_ms=OPEN_AT_MOST_MS
        )

    def _transaction(
        self, records: Sequence[Outgoing], read: Sequence[TopicPartition], groups: Sequence[Any]
    ) -> None:
        self._begun_s = time.monotonic()
        self._producer.begin_transaction()
        for record in records:
            self._produce(record)
        for group in groups if read else ():
            self._tried(self._producer.send_offsets_to_transaction, list(read), group, STEP_S)
        self._tried(self._producer.commit_transaction, STEP_S)

    def _produce(self, record: Outgoing) -> None:
        to = -1 if record.partition is None else record.partition
        headers: Any = list(record.headers)
        while True:
            try:
                self._producer.produce(record.topic, record.value, record.key, to, headers=headers)
                return
            except BufferError:
                self._producer.poll(0.05)

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
        """Takes the transaction back, so that it can be tried anew."""
        cause = error.args[0]
        log.warning("transaction failed: %s", cause.str())
        if time.monotonic() - self._begun_s > OPEN_AT_MOST_MS / 1e3:
            raise Expired(f"transactions of {self._id}: {cause.str()}") from error
        if cause.fatal() or not cause.txn_requires_abort() or self._give_up():
            raise self._lasting(error) from error
        try:
            self._tried(self._producer.abort_transaction, STEP_S)
        except KafkaException as second:
            raise self._lasting(second) from second
        if cause.code() in _SUPERSEDED:
            raise Superseded(cause.str()) from error
        time.sleep(PAUSE_S)

    def _lasting(self, error: KafkaException) -> Unavailable:
        cause = error.args[0]
        kind = Fenced if cause.fatal() else Unavailable
        return kind(f"transactions of {self._id}: {cause.str()}")
