"""A stage's Kafka side: reads batches, and sends outputs with input offsets in one transaction.

Where the reading begins follows from the store and the committed offsets (design: exactly once).
Decodes nothing.
"""

import logging
import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from adapters import kafka
from core.settings import Settings
from schemas.errors import Unavailable
from streams.stage import Stage
from streams.standing import Standing, read, written
from streams.store import Out, Place, Store

logger = logging.getLogger(__name__)
MOST_RECORDS = 2_000
SEND_WITHIN_S = 60.0


class Transport:
    """One stage's consumer and transactional producer. Used by one thread.

    Args:
        settings: where the broker is.
        stage: whose it is; its short name is the group's and the tail of the transactional id.
        store: its memory on this machine.
        on_change: called with the assigned partitions after each rebalance.
    """

    def __init__(
        self,
        settings: Settings,
        stage: Stage,
        store: Store,
        on_change: Callable[[list[int]], None],
    ) -> None:
        self._stage = stage
        self._store = store
        self._on_change = on_change
        self._topics = [kafka.topic_name(settings, topic) for topic in stage.inputs]
        self._worker = worker = settings.name or "streams"
        group = kafka.group_name(settings, stage.short)
        # A batch's records go out together, at the latest with the commit.
        self._producer = kafka.producer(settings, transactional_id=f"{group}.{worker}", linger_ms=5)
        self._consumer = kafka.consumer(settings, group, enable_partition_eof=True)
        self._goal: dict[Place, int] = {}
        self._held: list[Message] = []
        self.repeating = False
        self.offsets: dict[Place, int] = {}
        self.assigned: list[int] = []
        self._sent: dict[Place, int] = {}
        self._begun = False
        self.said_until: dict[int, int] = {}

    @property
    def catching_up(self) -> bool:
        """True while inputs are stepped again whose outputs were sent by an earlier life."""
        return bool(self._goal)

    @property
    def unsent_offsets(self) -> bool:
        """True when the broker does not know yet how far the inputs were read."""
        return self.offsets != self._sent

    def open(self) -> None:
        """Finishes what an earlier life left open and joins the group.

        Raises:
            Unavailable: the broker did not answer in time.
        """
        try:
            self._producer.init_transactions(SEND_WITHIN_S)
        except KafkaException as error:
            raise Unavailable(f"transactions: {error}") from error
        self._consumer.subscribe(
            self._topics, on_assign=self._assign, on_revoke=self._revoke, on_lost=self._lost
        )

    def read(self, timeout_s: float) -> list[Message]:
        """What has come, or comes within a moment of the first.

        While catching up only records below the goal are given out, the others wait. `repeating`
        says of what was given out whether an earlier life has sent what follows from it.

        Raises:
            Unavailable: the broker reported an error that does not pass by itself.
        """
        self.repeating = bool(self._goal)
        if not self._goal and self._held:
            held, self._held = self._held, []
            self._consumer.resume(_places(held))
            return held
        first = self._consumer.poll(timeout_s)
        batch = (
            [first, *self._consumer.consume(MOST_RECORDS - 1, timeout=self._stage.gather_s)]
            if first is not None
            else []
        )
        # An assignment within these calls sets the goal; the ends seen in the batch clear it.
        goal = dict(self._goal)
        self.repeating = bool(goal)
        usable = [message for message in batch if self._usable(message)]
        return self._below(goal, usable) if goal else usable

    def read_until(self, messages: Sequence[Message]) -> dict[Place, int]:
        """Notes these messages as read; how far each place has come."""
        for message in messages:
            place = _place(message)
            self.offsets[place] = (message.offset() or 0) + 1
            self._reached(place, self.offsets[place])
        return self.offsets

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

    def send(self, outs: Sequence[Out]) -> None:
        """Sends the outputs and the offsets, all or nothing, and returns when that is done.

        Raises:
            Unavailable: it did not work within the deadline, or another worker took over.
        """
        deadline = time.monotonic() + SEND_WITHIN_S
        while True:
            try:
                self._transaction(outs)
                self._sent = dict(self.offsets)
                return
            except KafkaException as error:
                self._recover(error, deadline)

    def end_offsets(self, topic_name: str, partitions: int) -> list[int]:
        """The next offset of each partition of a topic."""
        return [
            int(self._consumer.get_watermark_offsets(TopicPartition(topic_name, number), 10)[1])
            for number in range(partitions)
        ]

    def close(self) -> None:
        """Leaves the group."""
        self._consumer.close()

    def _open(self, outs: Sequence[Out]) -> None:
        producer = self._producer
        producer.begin_transaction()
        for out in outs:
            to = -1 if out.to is None else out.to  # -1: the key's own partition
            while True:
                try:
                    producer.produce(
                        out.topic, out.value, out.key, partition=to, headers=list(out.headers)
                    )
                    break
                except BufferError:
                    producer.poll(0.05)

    def _transaction(self, outs: Sequence[Out]) -> None:
        producer = self._producer
        if not self._begun:
            self._open(outs)
        self._begun = False
        closed = self._stage.closed()
        places = [
            TopicPartition(topic, number, following, metadata=self._standing(closed, number))
            for (topic, number), following in self.offsets.items()
        ]
        if places:
            producer.send_offsets_to_transaction(
                places, self._consumer.consumer_group_metadata(), SEND_WITHIN_S
            )
        producer.commit_transaction(SEND_WITHIN_S)

    def _standing(self, closed: dict[int, int], number: int) -> str:
        return written(Standing(self._worker, self._store.batch, closed.get(number, -1)))

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

    def _assign(self, _: object, places: list[TopicPartition]) -> None:
        self.assigned = sorted({place.partition for place in places})
        committed = self._consumer.committed(places, timeout=kafka.ANSWER_WITHIN_S)
        local = self._store.offsets()
        self.offsets, self._goal, self._held = {}, {}, []
        known = {(each.topic, each.partition): each for each in committed}
        for place in places:
            key = (place.topic, place.partition)
            mine, theirs = local.get(key, 0), known[key].offset
            if key in local:
                self.offsets[key] = mine
            if theirs > mine:
                self._goal[key] = theirs
            place.offset = mine if key in local else -2
        self._sent = {key: each.offset for key, each in known.items() if each.offset >= 0}
        left = {key: read(each.metadata) for key, each in known.items()}
        self.said_until = self._said_by_others(left)
        self._consumer.assign(places)
        self._on_change(self.assigned)
        self._send_again(left)
        logger.info("reads partitions %s of %s", self.assigned, self._topics)

    def _said_by_others(self, left: dict[Place, Standing]) -> dict[int, int]:
        """How far what is due has been said, of partitions where we are not past the commit."""
        ahead = {key[1] for key, at in self.offsets.items() if at > max(self._sent.get(key, 0), 0)}
        until: dict[int, int] = {}
        for (_, number), standing in left.items():
            if standing.closed_ms >= 0 and number not in ahead:
                until[number] = max(until.get(number, -1), standing.closed_ms)
        return until

    def _send_again(self, left: dict[Place, Standing]) -> None:
        """Sends the outbox of a batch that was written here and never committed."""
        if (self._worker, self._store.batch) in {
            (each.worker, each.batch) for each in left.values()
        }:
            return
        taken = {
            key[1]
            for key, each in left.items()
            if each.worker not in ("", self._worker)
            and self._sent.get(key, -1) >= self.offsets.get(key, 0)
        }
        outbox = [] if self._goal else self._store.outbox()
        again = [out for out in outbox if out.source in self.assigned and out.source not in taken]
        if again:
            self.send(again)

    def _revoke(self, _: object, places: list[TopicPartition]) -> None:
        if self.unsent_offsets and self.offsets and not self._goal:
            self.send([])
        self._lost(_, places)

    def _lost(self, *_: object) -> None:
        self.assigned, self.offsets, self._sent = [], {}, {}
        self._goal, self._held, self.said_until = {}, [], {}
        self._on_change([])

    def _usable(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self._goal.pop(_place(message), None)
            return False
        kafka.raise_if_lasting(error)
        return False

    def _below(self, goal: dict[Place, int], messages: list[Message]) -> list[Message]:
        below = []
        for message in messages:
            if (message.offset() or 0) < goal.get(_place(message), 0):
                below.append(message)
            else:
                self._held.append(message)
        self._consumer.pause(_places(self._held))
        return below

    def _reached(self, place: Place, following: int) -> None:
        goal = self._goal.get(place)
        if goal is not None and following >= goal:
            del self._goal[place]


def _place(message: Message) -> Place:
    return str(message.topic()), int(message.partition() or 0)


def _places(messages: Sequence[Message]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in {_place(message) for message in messages}]
