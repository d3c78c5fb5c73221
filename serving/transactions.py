"""Records, and how far their input was read, in one Kafka transaction: all or nothing.

Waits for a broker that is away for as long as it is allowed to. It knows no meaning of what it
sends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from adapters.kafka import producer
from core.settings import Settings
from schemas.errors import Unavailable
from serving.outbox import Outgoing

STEP_S = 5.0
PAUSE_S = 0.1

log = logging.getLogger(__name__)


class Fenced(Unavailable):
    """Another process has taken the transactional id, or the broker closed a transaction that took
    too long."""


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
        self._made()

    def open(self) -> None:
        """Takes the id and ends what an earlier holder had begun.

        Raises:
            Unavailable: the broker did not answer before giving up.
        """
        try:
            self._tried(self._producer.init_transactions, STEP_S)
        except KafkaException as error:
            raise self._lasting(error) from error

    def reopen(self) -> None:
        """Begins anew with another producer, after `Fenced`."""
        self._producer.purge()
        self._made()
        self.open()

    def send(self, records: Sequence[Outgoing], read: Sequence[TopicPartition], group: Any) -> None:
        """Returns once the records are committed with the offsets read, of this group.

        Raises:
            Fenced: the id was taken away: whether it is committed must be asked of the broker.
            Unavailable: giving up; likewise.
        """
        while True:
            try:
                self._transaction(records, read, group)
                return
            except KafkaException as error:
                self._recover(error)

    def close(self) -> None:
        """Forgets what was not sent."""
        self._producer.purge()

    def _made(self) -> None:
        self._producer = producer(self._settings, transactional_id=self._id, linger_ms=1)

    def _transaction(
        self, records: Sequence[Outgoing], read: Sequence[TopicPartition], group: Any
    ) -> None:
        self._producer.begin_transaction()
        for record in records:
            self._produce(record)
        if read:
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
        while True:
            try:
                call(*arguments)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or self._give_up():
                    raise
                log.info("Kafka is slow: %s", error.args[0].str())
                time.sleep(PAUSE_S)

    def _recover(self, error: KafkaException) -> None:
        """Takes the transaction back, so that it can be tried anew."""
        cause = error.args[0]
        log.warning("transaction failed: %s", cause.str())
        if cause.fatal() or not cause.txn_requires_abort() or self._give_up():
            raise self._lasting(error) from error
        try:
            self._tried(self._producer.abort_transaction, STEP_S)
        except KafkaException as second:
            raise self._lasting(second) from second
        time.sleep(PAUSE_S)

    def _lasting(self, error: KafkaException) -> Unavailable:
        cause = error.args[0]
        kind = Fenced if cause.fatal() else Unavailable
        return kind(f"transactions of {self._id}: {cause.str()}")
