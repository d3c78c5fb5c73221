"""Answers on their way to `predictions`, safe on this machine's disk from before the reply.

`put` appends to a spool and returns, or waits for the broker while the disk refuses; one thread
sends what the spool holds, in order, in Kafka transactions. How far it is travels in the same
transaction, as an offset of a consumer group of the spool's own: so after a kill the broker itself
says what it has, and the rest is sent, once. It knows no request and no answer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import TopicPartition

from adapters.clock import wall_ms
from adapters.home import home_of
from adapters.kafka import consumer, group_name, topic_name
from adapters.kafka_offsets import committed
from adapters.kafka_transactions import Fenced, Transactions
from core.rate_limit import Limit, take
from core.settings import Settings
from schemas import topics
from schemas.errors import Unavailable
from serving.direct import Direct
from serving.outbox import Outgoing
from serving.spool import DiskRefuses, Spool, Taken, Waiting

PACE = Limit(20.0, 20)
"""Transactions a second, and at once after a quiet time: each costs the broker some 4 ms of CPU."""
LOOK_S = 0.5
OPENED_EVERY_S = 5.0
"""A spool that the disk refuses is tried again so often."""
DRAINED_WITHIN_S = 8.0

log = logging.getLogger(__name__)
_pack = msgspec.msgpack.Encoder().encode
_Packed = tuple[str, bytes | None, bytes | None, list[tuple[str, bytes]], int | None]
_unpack = msgspec.msgpack.Decoder(_Packed).decode


def spool_folder(settings: Settings, process: str) -> Path:
    """Where a serving process keeps what Kafka does not have yet."""
    return home_of(settings) / "serving" / process / "spool"


class Ledger:
    """Records of one process on their way to Kafka.

    Args:
        settings: where Kafka is, and the bounds of the spool.
        process: whose spool and transactional id these are.

    Raises:
        BadSettings: another process of this name runs here.
    """

    def __init__(self, settings: Settings, process: str) -> None:
        self._settings = settings
        self._folder = spool_folder(settings, process)
        self._refused = False
        self._opened_s = 0.0
        self._spool = self._opened()
        self._direct = Direct()
        self._mark = topic_name(settings, topics.PREDICTIONS)
        transactional_id = group_name(settings, f"serving.{process}")
        self._transactions = Transactions(settings, transactional_id, self._over)
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._until_s = float("inf")
        self._full_at_s = 0.0
        self._metadata: Any = None

    @property
    def waiting(self) -> Waiting:
        """What Kafka does not have yet."""
        return self._spool.waiting if self._spool is not None else Waiting(0, 0, 0)

    @property
    def is_refused(self) -> bool:
        """Whether the disk takes nothing now, so that answers wait for the broker."""
        return self._refused

    def age_s(self) -> float:
        """Seconds since the oldest of these was put, 0 when there is none."""
        oldest_ms = self.waiting.oldest_ms
        return max(wall_ms() - oldest_ms, 0) / 1e3 if oldest_ms else 0.0

    def put(self, records: Sequence[Outgoing]) -> None:
        """Returns once the records are safe from a kill of this process; by any thread.

        Raises:
            Unavailable: the spool is full, or neither the disk nor the broker takes them.
        """
        if not self._spooled(records):
            self._direct.put(records, self._wake.set)

    def _spooled(self, records: Sequence[Outgoing]) -> bool:
        spool = self._spool
        if spool is None:
            return False
        packed = [
            _pack((each.topic, each.key, each.value, list(each.headers), each.partition))
            for each in records
        ]
        try:
            spool.append(packed, wall_ms())
        except DiskRefuses as error:
            self._say(error)
            return False
        self._say(None)
        self._wake.set()
        return True

    def run(self) -> None:
        """Sends until `finish`, then what is left, for a while; to be run by one thread.

        Raises:
            Unavailable: another process took the transactional id, or the disk is damaged.
        """
        try:
            self._transactions.open()
            self._recall()
            while self._goes_on():
                self._send_all()
        except Unavailable as error:
            if not self._over():
                raise
            log.warning("Kafka has not taken all: %s", error)
        finally:
            self._transactions.close()
        left = self.waiting
        if left.records:
            log.warning("%d records stay in the spool for the next start", left.records)

    def finish(self, within_s: float = DRAINED_WITHIN_S) -> None:
        """Asks `run` to end once all is sent, at the latest after so many seconds."""
        self._until_s = time.monotonic() + within_s
        self._closing.set()
        self._wake.set()

    def close(self) -> None:
        """Lets go of the spool; after `run` has ended."""
        if self._spool is not None:
            self._spool.close()

    def _over(self) -> bool:
        return time.monotonic() > self._until_s

    def _goes_on(self) -> bool:
        """Waits for records, and for more of them when transactions are many; False at the end."""
        if self._closing.is_set():
            return self.waiting.records > 0 and not self._over()
        if self._wake.wait(LOOK_S):
            self._full_at_s, taken = take(self._full_at_s, PACE, time.monotonic())
            if not taken.granted:
                self._closing.wait(taken.retry_in_s)
                self._full_at_s, _ = take(self._full_at_s, PACE, time.monotonic())
        return True

    def _send_all(self) -> None:
        self._wake.clear()
        self._send_direct()
        self._reopen_spool()
        while self._spool is not None and (taken := self._spool.take()) is not None:
            try:
                self._send(self._spool, taken)
            except Fenced as error:
                self._transactions.reopen(error)
                self._recall()
            if self._over():
                return
            self._send_direct()

    def _send_direct(self) -> None:
        """Sends what waits for the broker; whether it has it is not asked after a fence."""
        records, is_sent = self._direct.take(), False
        try:
            if records:
                self._transactions.send(records, ())
            is_sent = True
        except Fenced as error:
            self._direct.said(is_sent=False)
            self._transactions.reopen(error)
            self._recall()
        finally:
            self._direct.said(is_sent=is_sent)

    def _opened(self) -> Spool | None:
        """The spool; None while the disk refuses it."""
        self._opened_s = time.monotonic()
        settings = self._settings
        try:
            return Spool(self._folder, settings.spool_mb * 2**20, fsync=settings.spool_fsync)
        except DiskRefuses as error:
            self._say(error)
            return None

    def _reopen_spool(self) -> None:
        if self._spool is None and time.monotonic() - self._opened_s > OPENED_EVERY_S:
            self._spool = self._opened()
            if self._spool is not None:
                self._say(None)
                self._recall()

    def _say(self, error: DiskRefuses | None) -> None:
        """Logs when the disk begins to refuse, and when it takes records again."""
        if error is not None and not self._refused:
            log.error("answers wait for Kafka, each one, until the disk takes them: %s", error)
        elif error is None and self._refused:
            log.warning("the disk takes answers again")
        self._refused = error is not None

    def _send(self, spool: Spool, taken: Taken) -> None:
        records = []
        for payload in taken.payloads:
            topic, key, value, headers, partition = _unpack(payload)
            records.append(Outgoing(topic, key, value, headers, partition))
        far = [TopicPartition(self._mark, 0, taken.end)]
        self._transactions.send(records, far, self._metadata)
        spool.done(taken)

    def _recall(self) -> None:
        """Asks the broker how far it is: a kill may have come between its commit and our note."""
        if self._spool is None:
            return
        group = group_name(self._settings, f"serving.spool.{self._spool.name}")
        client = consumer(self._settings, group)
        self._metadata = client.consumer_group_metadata()
        mark = TopicPartition(self._mark, 0)
        try:
            (place,) = committed(
                client, [mark], self._over, lambda place: self._clear(place, group)
            )
        finally:
            client.close()
        far = int(place.offset)  # negative when the broker knows of none
        if far > 0:
            self._spool.skip_to(far)
        left = self._spool.waiting.records
        if left:
            log.info("%d records were left in the spool", left)

    def _clear(self, place: TopicPartition, group: str) -> None:
        try:
            self._transactions.clear(place, group)
        except Fenced as error:
            self._transactions.reopen(error)
