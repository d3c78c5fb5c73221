"""A stage's place in its consumer group, and the transactional producer that goes with it.

Knows no batch and no state: whoever reads and sends through it keeps those.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from adapters import kafka
from adapters.kafka_offsets import committed
from adapters.kafka_transactions import Fenced, Transactions
from core.settings import Settings
from schemas.errors import Unavailable
from streams.store import Out

OPEN_AT_MOST_MS = 60_000
# What waits in the client is before a newer event, whatever partition that comes from.
_QUEUE: dict[str, Any] = {"queued_min_messages": 2_000, "queued_max_messages_kbytes": 4_096}
Changed = Callable[[Any, list[TopicPartition]], None]


class Member:
    """Used by one thread.

    Args:
        settings: where the broker is, and the worker's name.
        short: the stage's short name: the group's, and the head of the transactional id.
        inputs: the topics, by their names in Kafka.
        on_assign, on_revoke, on_lost: the consumer's, all called within its calls.
        give_up: whether to wait no longer for a broker that is away.
    """

    def __init__(
        self,
        settings: Settings,
        short: str,
        inputs: list[str],
        on_assign: Changed,
        on_revoke: Changed,
        on_lost: Changed,
        give_up: Callable[[], bool],
    ) -> None:
        self.worker = settings.name or "streams"
        self._settings = settings
        self._group = kafka.group_name(settings, short)
        self._inputs = inputs
        self._callbacks = {"on_assign": on_assign, "on_revoke": on_revoke, "on_lost": on_lost}
        self._give_up = give_up
        # A batch's records go out together, at the latest with the commit.
        self._transactions = Transactions(
            settings,
            f"{self._group}.{self.worker}",
            give_up,
            linger_ms=5,
            open_at_most_ms=OPEN_AT_MOST_MS,
            apart_s=0.0,
        )
        self.consumer = self._made()
        self.metadata: Any = None

    def join(self) -> None:
        """Finishes what an earlier life left open and joins the group.

        Raises:
            Unavailable: the broker did not answer before giving up.
        """
        self._transactions.open()
        self._subscribe()

    def join_anew(self, error: Unavailable) -> None:
        """Joins as a new process would, after `Fenced` or `Superseded`.

        Raises:
            Unavailable: another worker of this name took over, or giving up.
        """
        if isinstance(error, Fenced):
            self._transactions.reopen(error)
        self.consumer.close()
        self.consumer = self._made()
        self._subscribe()

    def committed(self, places: list[TopicPartition]) -> list[TopicPartition]:
        """How far the group has come in what is being assigned; called by `on_assign`.

        Raises:
            Superseded, Fenced, Unavailable: as `send`.
        """
        self.metadata = self.consumer.consumer_group_metadata()
        return committed(
            self.consumer,
            places,
            self._give_up,
            lambda place: self._transactions.clear(place, self._group),
        )

    def begin(self, outs: Sequence[Out]) -> None:
        """Lets the outputs travel; raises as `send`."""
        self._transactions.begin(outs)

    def send(self, outs: Sequence[Out], read: Sequence[TopicPartition]) -> None:
        """Sends the outputs and the offsets, all or nothing, and returns when that is done.

        Raises:
            Superseded, Fenced: the batch is broken off: `join_anew`.
            Unavailable: giving up, or the broker refuses.
        """
        self._transactions.send(outs, read, self.metadata)

    def _made(self) -> Consumer:
        return kafka.consumer(self._settings, self._group, enable_partition_eof=True, **_QUEUE)

    def _subscribe(self) -> None:
        self.consumer.subscribe(self._inputs, **self._callbacks)
