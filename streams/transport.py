"""A stage's Kafka side: reads batches, and sends outputs with input offsets in one transaction.

Reading begins where store and committed offsets say (design: exactly once). It decodes nothing.
"""

import logging
from collections.abc import Callable, Sequence

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from adapters import kafka
from adapters.kafka_lag import lag_of
from core.settings import Settings
from schemas.errors import Unavailable
from streams.again import Again, place_of, until_of
from streams.batch_size import MOST, BatchSize
from streams.member import Member
from streams.stage import Stage
from streams.standing import Standing, read, said_until, taken_by_others, written
from streams.store import Entry, Out, Place, Store

logger = logging.getLogger(__name__)
ENDS_WITHIN_S = 600.0


class Read(msgspec.Struct, frozen=True):
    """What one read gave: records to step, and what an earlier life made of them.

    `again` is the journal's entry when the batch is stepped again just as it was; `repeating` says
    that an earlier life has sent what follows from these records, in whatever batches.
    """

    records: list[Message] = []
    again: Entry | None = None
    repeating: bool = False


class Transport:
    """One stage's consumer and transactional producer. Used by one thread.

    Args:
        settings: where the broker is.
        stage: whose it is; its short name is the group's and the tail of the transactional id.
        store: its memory on this machine.
        on_change: called with the assigned partitions after each rebalance.
        give_up: whether to wait no longer for a broker that is away.
    """

    def __init__(
        self,
        settings: Settings,
        stage: Stage,
        store: Store,
        on_change: Callable[[list[int]], None],
        give_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._stage = stage
        self._store = store
        self._on_change = on_change
        self._topics = [kafka.topic_name(settings, topic) for topic in stage.inputs]
        self._member = Member(
            settings, stage.short, self._topics, self._assign, self._revoke, self._lost, give_up
        )
        self._broken_off = False
        self.size = BatchSize()
        self._goal: dict[Place, int] = {}
        self._held: list[Message] = []
        self._again: Again[Message] = Again()
        self._ended: set[Place] = set()
        self._send_last = False
        self.offsets: dict[Place, int] = {}
        self.assigned: list[int] = []
        self._sent: dict[Place, int] = {}
        self._taken: set[int] = set()
        self.said_until: dict[int, int] = {}

    @property
    def catching_up(self) -> bool:
        """True while inputs are stepped again that an earlier life has stepped, or are about to."""
        return bool(self._goal or self._again or self._broken_off)

    @property
    def unsent_offsets(self) -> bool:
        """True when the broker does not know yet how far the inputs were read."""
        return self.offsets != self._sent

    @property
    def lag(self) -> int:
        """Records of the assigned partitions that are not read yet; by any thread."""
        read = dict(self.offsets)
        places = [(topic, number) for topic in self._topics for number in self.assigned]
        return lag_of(self._consumer, {place: read.get(place, 0) for place in places})

    def open(self) -> None:
        """Finishes what an earlier life left open and joins the group.

        Raises:
            Unavailable: the broker did not answer before giving up.
        """
        self._member.join()

    def begin_anew(self, error: Unavailable) -> None:
        """Goes on as a new process would: what was in work is taken from the store, or read again.

        Args:
            error: why: `Fenced`, or `Superseded` by another member.

        Raises:
            Unavailable: another worker of this name took over, or giving up.
        """
        self._broken_off = True  # until the next assignment nothing is kept or sent
        self._lost()
        self._member.join_anew(error)

    @property
    def _consumer(self) -> Consumer:
        return self._member.consumer

    def read(self, timeout_s: float) -> Read | None:
        """What has come, or comes within a moment of the first.

        A batch of the journal is given out as it was; None while parts of it are on their way.
        While catching up only records below the goal are given out, the others wait.

        Raises:
            Unavailable: the broker reported an error that does not pass by itself.
        """
        if self._again:
            return self._read_again(timeout_s)
        if not self._goal and self._held:
            held, self._held = self._held, []
            self._consumer.resume(_places(held))
            return Read(held)
        batch = self._gather(timeout_s)
        if self._again:  # an assignment came within these calls
            self._again.held += self._usable(batch)
            return None
        # An assignment within these calls sets the goal; the ends seen in the batch clear it.
        goal = dict(self._goal)
        usable = [*self._held, *self._usable(batch)] if goal else self._usable(batch)
        return Read(self._below(goal, usable) if goal else usable, repeating=bool(goal))

    def _gather(self, timeout_s: float) -> list[Message]:
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        most, assigned = MOST if self._again else self.size.most, self.assigned
        rest = self._consumer.consume(most - 1, timeout=self._stage.gather_s)
        # After an assignment in between, what was read before comes again, here or elsewhere.
        return [first, *rest] if self.assigned is assigned else rest

    def read_until(self, messages: Sequence[Message]) -> dict[Place, int]:
        """Notes these messages as read; how far each place has come within them."""
        until: dict[Place, int] = {}
        for message in messages:
            until[message.topic(), message.partition()] = message.offset()  # type: ignore[index,assignment]
        for place, offset in until.items():
            until[place] = self.offsets[place] = offset + 1
            self._reached(place, offset + 1)
        return until

    def begin(self, outs: Sequence[Out]) -> None:
        """Lets the outputs travel while the batch is written; raises as `send`."""
        self._member.begin(outs)

    def send(self, outs: Sequence[Out]) -> None:
        """Sends the outputs and the offsets, all or nothing, and returns when that is done.

        Raises:
            Superseded, Fenced: the batch is broken off: `begin_anew`.
            Unavailable: giving up, or the broker refuses.
        """
        closed = self._stage.closed()
        places = [
            TopicPartition(topic, number, following, metadata=self._standing(closed, number))
            for (topic, number), following in self.offsets.items()
        ]
        self._member.send(outs, places)
        self._sent = dict(self.offsets)

    def end_offsets(self, topic_name: str, partitions: int) -> list[int]:
        """The next offset of each partition of a topic; raises Unavailable."""
        return [
            kafka.ends_of(self._consumer, topic_name, number, ENDS_WITHIN_S)[1]
            for number in range(partitions)
        ]

    def close(self) -> None:
        """Leaves the group."""
        self._consumer.close()

    def _standing(self, closed: dict[int, int], number: int) -> str:
        return written(Standing(self._member.worker, self._store.batch, closed.get(number, -1)))

    def _assign(self, _: object, places: list[TopicPartition]) -> None:
        self.assigned = sorted({place.partition for place in places})
        self._broken_off = False
        known = {(each.topic, each.partition): each for each in self._member.committed(places)}
        local = {key: at for key, at in self._store.offsets().items() if key in known}
        self.offsets, self._goal, self._held, self._ended = dict(local), {}, [], set()
        self._again = Again(self._store.journal(), known.keys())
        mine = self._again.reached(local)
        for place in places:
            key = (place.topic, place.partition)
            if known[key].offset > mine.get(key, 0):
                self._goal[key] = known[key].offset
            place.offset = local.get(key, OFFSET_BEGINNING)
        self._sent = {key: each.offset for key, each in known.items() if each.offset >= 0}
        left = {key: read(each.metadata) for key, each in known.items()}
        self.said_until = said_until(left, mine, self._sent)
        self._consumer.assign(places)
        self._on_change(self.assigned)
        self._settle(left, mine)
        logger.info("reads partitions %s of %s", self.assigned, self._topics)

    def _settle(self, left: dict[Place, Standing], mine: dict[Place, int]) -> None:
        """Sees to it that a batch which was written here and never committed is sent."""
        self._send_last = not self._goal and (self._member.worker, self._store.batch) not in {
            (each.worker, each.batch) for each in left.values()
        }
        self._taken = taken_by_others(self._member.worker, left, mine, self._sent)
        again = self._not_taken(self._store.outbox()) if self._send_last and not self._again else []
        if again:
            self.send(again)

    def to_send(self, entry: Entry, outs: Sequence[Out]) -> list[Out]:
        """What of a batch that was stepped again has still to be sent: at most the last one's."""
        if entry.silent or self._again or not self._send_last:
            return []
        return self._not_taken(outs)

    def _not_taken(self, outs: Sequence[Out]) -> list[Out]:
        """Those of an earlier life's outputs that no other worker has sent in its place."""
        wanted = set(self.assigned) - self._taken
        return [out for out in outs if out.source in wanted]

    def _read_again(self, timeout_s: float) -> Read | None:
        """The journal's next batch, once all its records have come again."""
        found = self._again.next(self.offsets, self._ended)
        if found is None:
            self._again.held += self._usable(self._gather(timeout_s))
            return None
        entry, records = found
        until = until_of(entry)
        self.offsets |= until
        for place, at in until.items():
            self._reached(place, at)
        if not self._again:
            self._held, self._again.held = self._again.held, []
        return Read(records, again=entry)

    def _revoke(self, _: object, places: list[TopicPartition]) -> None:
        if self.unsent_offsets and self.offsets and not self.catching_up:
            try:
                self.send([])
            except Unavailable as error:
                logger.warning("offsets stay where they were: %s", error)
        self._lost(_, places)

    def _lost(self, *_: object) -> None:
        self.assigned = []
        self._on_change([])
        self.offsets, self._sent = {}, {}
        self._goal, self._held, self.said_until = {}, [], {}
        self._again = Again()

    def _usable(self, messages: Sequence[Message]) -> list[Message]:
        """The records among them; ends are noted."""
        usable = []
        for message in messages:
            error = message.error()
            if error is None:
                usable.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._goal.pop(place_of(message), None)
                self._ended.add(place_of(message))
            else:
                kafka.raise_if_lasting(error)
        return usable

    def _below(self, goal: dict[Place, int], messages: list[Message]) -> list[Message]:
        below, self._held = [], []
        for message in messages:
            if (message.offset() or 0) < goal.get(place_of(message), 0):
                below.append(message)
            else:
                self._held.append(message)
        self._consumer.pause(_places(self._held))
        return below

    def _reached(self, place: Place, following: int) -> None:
        goal = self._goal.get(place)
        if goal is not None and following >= goal:
            del self._goal[place]


def _places(messages: Sequence[Message]) -> list[TopicPartition]:
    return [TopicPartition(*place) for place in {place_of(message) for message in messages}]
