"""Outputs and input offsets of a batch in one Kafka transaction.

Knows no consumer but its group's metadata, and no meaning of what it sends.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from adapters import kafka
from core.settings import Settings
from schemas.errors import Unavailable
from streams.store import Out

logger = logging.getLogger(__name__)
SEND_WITHIN_S = 60.0


class Sender:
    """One stage's transactional producer. Used by one thread."""

    def __init__(self, settings: Settings, transactional_id: str) -> None:
        # A batch's records go out together, at the latest with the commit.
        self._producer = kafka.producer(settings, transactional_id=transactional_id, linger_ms=5)
        self._begun = False

    def open(self) -> None:
        """Finishes what an earlier life left open; raises Unavailable when that takes too long."""
        try:
            self._producer.init_transactions(SEND_WITHIN_S)
        except KafkaException as error:
            raise Unavailable(f"transactions: {error}") from error

    def begin(self, outs: Sequence[Out]) -> None:
        """Opens the transaction that `send` ends, and lets its outputs travel meanwhile.

        One that fails is aborted, and `send` begins anew.

        Raises:
            Unavailable: another worker took over, or it could not be aborted.
        """
        try:
            self._open(outs)
            self._begun = True
        except KafkaException as error:
            self._recover(error, time.monotonic() + SEND_WITHIN_S)

    def send(
        self, outs: Sequence[Out], places: list[TopicPartition], group: Callable[[], Any]
    ) -> None:
        """Sends the outputs and the offsets, all or nothing, and returns when that is done.

        Args:
            outs: the outputs; those that `begin` was given.
            places: how far the inputs were read.
            group: gives the metadata of the consumer's group as they are now.

        Raises:
            Unavailable: it did not work within the deadline, or another worker took over.
        """
        deadline = time.monotonic() + SEND_WITHIN_S
        while True:
            try:
                self._transaction(outs, places, group)
                return
            except KafkaException as error:
                self._recover(error, deadline)

    def _open(self, outs: Sequence[Out]) -> None:
        self._producer.begin_transaction()
        produce, sent = self._producer.produce, 0
        while sent < len(outs):
            try:
                for out in outs[sent:]:
                    to = -1 if out.to is None else out.to  # -1: the key's own partition
                    headers: Any = out.headers  # a list of the narrower type will do
                    produce(out.topic, out.value, out.key, to, headers=headers)
                    sent += 1
            except BufferError:
                self._producer.poll(0.05)

    def _transaction(
        self, outs: Sequence[Out], places: list[TopicPartition], group: Callable[[], Any]
    ) -> None:
        if not self._begun:
            self._open(outs)
        self._begun = False
        if places:
            self._producer.send_offsets_to_transaction(places, group(), SEND_WITHIN_S)
        self._producer.commit_transaction(SEND_WITHIN_S)

    def _recover(self, error: KafkaException, deadline: float) -> None:
        cause = error.args[0]
        logger.warning("transaction failed: %s", cause)
        if cause.fatal() or not cause.txn_requires_abort() or time.monotonic() > deadline:
            raise Unavailable(f"transaction: {cause.str()}") from error
        try:
            self._producer.abort_transaction(SEND_WITHIN_S)
        except KafkaException as second:
            raise Unavailable(f"transaction not aborted: {second}") from second
        time.sleep(0.1)
