"""The sink's side of Kafka: its group, its position in every partition, topics made again.

A position is where the next record is read; it passes transaction markers and aborted records.
Hands out rows, stores nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from adapters.kafka import consumer, group_name, raise_if_lasting, topic_name
from adapters.kafka_lag import lag_of
from adapters.kafka_topics import TopicIds
from adapters.pepper import load_pepper
from adapters.tables import SUNK
from core.settings import Settings
from schemas.errors import Unavailable
from streams.sink_intake import Pieces, TopicIntake
from streams.sink_store import Place, Store

log = logging.getLogger(__name__)
_AT_ONCE = 4_000
_READ_FOR_S = 0.1


class Feed:
    """The sunk topics as rows; a member of the group `sink` that starts where the store says.

    The group only spreads partitions over several sinks and shows lag: offsets committed to it are
    never read. A sink that was killed takes its place again by its static name at once.

    Args:
        settings: where the broker is and what the topics are called.
        store: says where to read on.
        settle: returns when nothing is being stored; called before partitions go to another sink
            and before the store is asked, or rows on their way would be stored twice.
    """

    def __init__(self, settings: Settings, store: Store, settle: Callable[[], None]) -> None:
        self._store = store
        self._settle = settle
        self._topics = {topic_name(settings, topic): topic for topic in SUNK}
        self._ids = TopicIds(settings)
        self._pepper = load_pepper(settings)
        self._intakes: dict[str, TopicIntake] = {}
        self._known: dict[str, str] = {}
        self._assigned: list[TopicPartition] = []
        self._reassigned = False
        self._went_back = False
        self.ready = False
        self.positions: dict[Place, int] = {}
        self._consumer = consumer(
            settings,
            group_name(settings, "sink"),
            group_instance_id=settings.name or "sink",
            enable_partition_eof=True,
            queued_max_messages_kbytes=16_384,
            # A sink is in no hurry: one answer of the broker a tenth of a second, not one a record.
            fetch_min_bytes=1_000_000,
            topic_metadata_refresh_interval_ms=5_000,
        )
        self._consumer.subscribe(
            list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke
        )

    def _on_assign(self, _consumer: Any, partitions: list[TopicPartition]) -> None:
        # The store is asked outside of the callback; until then nothing is read.
        self._assigned, self._reassigned = partitions, True
        self._consumer.assign([])

    def _on_revoke(self, _consumer: Any, _partitions: list[TopicPartition]) -> None:
        # Rows in hand are forgotten: whoever is next reads them from the stored position.
        self._settle()
        self._assigned, self._reassigned = [], True
        self._consumer.unassign()

    def read(self) -> Pieces | None:
        """New records; None when partitions or positions changed and records in hand are void.

        Raises:
            BrokerAway: the broker does not answer at present; records in hand are void, and the
                next read begins at the position that the store says.
            Unavailable: Kafka reported an error that does not pass by itself.
        """
        try:
            messages = self._consumer.consume(_AT_ONCE, timeout=_READ_FOR_S)
        except KafkaException as error:
            raise Unavailable(f"Kafka: {error}") from error
        if self._reassigned:
            self.restart()
            return None
        pieces: Pieces = []
        for (topic, partition), run in _runs(messages).items():
            pieces += self._pieces(topic, partition, run)
        if self._went_back:
            self._went_back, self._reassigned = False, True  # until the broker says it is not
            if self.remade(self.topics):
                self.restart()
                return None
            self._reassigned = False
        return pieces

    def _pieces(self, topic: str, partition: int, run: list[Any]) -> Pieces:
        ends = [each for each in run if each.error() is not None]
        if ends:
            run = [each for each in run if each.error() is None]
        found = self._records(topic, partition, run) if run else []
        for message in ends:
            self._ended(message)
        return found

    def _records(self, topic: str, partition: int, run: list[Any]) -> Pieces:
        place = (topic, self._known[topic], partition)
        offsets = np.fromiter(map(type(run[0]).offset, run), np.int64, len(run))
        expected = np.append(self.positions.get(place, 0), offsets[:-1] + 1)
        ahead = offsets >= np.maximum.accumulate(expected)
        if not ahead.all():
            # Read before: the broker lost its end, or this is another topic of the same name.
            self._went_back = True
            offsets, run = offsets[ahead], [run[at] for at in np.flatnonzero(ahead)]
            if not run:
                return []
        self.positions[place] = int(offsets[-1]) + 1
        return self._intakes[topic].pieces(partition, run, offsets)

    def _ended(self, message: Any) -> None:
        error = message.error()
        if error.code() == KafkaError._PARTITION_EOF:
            place = (message.topic(), self._known[message.topic()], message.partition())
            self.positions[place] = max(message.offset(), self.positions.get(place, 0))
        elif error.code() != KafkaError.UNKNOWN_TOPIC_ID:
            raise_if_lasting(error)

    def remade(self, topics: Iterable[str]) -> frozenset[str]:
        """Those of the topics that were made, perhaps again, since their position was set."""
        now = self._ids(topics)
        known = self._known
        return frozenset(name for name, topic_id in now.items() if topic_id != known.get(name))

    def restart(self) -> None:
        """Set every assigned partition to the position that the store says.

        Raises:
            BrokerAway: the broker does not answer at present: the next read begins with it again.
        """
        self._settle()
        self._reassigned = True
        self._known = self._ids({each.topic for each in self._assigned})
        self._reassigned, self.positions = False, {}
        resumes = {}
        for name, topic_id in self._known.items():
            topic = self._topics[name]
            self._intakes[name] = TopicIntake(topic, name, topic_id, self._pepper)
            resumes[name] = self._store.resume(topic.name, name, topic_id).next_offset
        places = []
        for each in self._assigned:
            if each.topic in resumes:
                start = resumes[each.topic].get(each.partition, 0)
                places.append(TopicPartition(each.topic, each.partition, start))
                self.positions[each.topic, self._known[each.topic], each.partition] = start
        self._consumer.assign(places)
        self.ready = bool(places)
        log.info("reading %d partitions of %d topics", len(places), len(resumes))

    @property
    def lag(self) -> int:
        """Records of its partitions that are not read yet; by any thread."""
        read = dict(self.positions)
        places = {(topic, number): position for (topic, _, number), position in read.items()}
        return lag_of(self._consumer, places)

    @property
    def topics(self) -> frozenset[str]:
        """The full names of the topics that are this member's to read."""
        return frozenset(each.topic for each in self._assigned)

    def commit(self, next_offsets: dict[Place, int]) -> None:
        """Show the group how far the store has come; a failure changes nothing that counts."""
        if not next_offsets:
            return
        places = [
            TopicPartition(topic, partition, offset)
            for (topic, _, partition), offset in next_offsets.items()
        ]
        try:
            self._consumer.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            log.warning("offsets for display were not committed: %s", error)

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()


def _runs(messages: Sequence[Any]) -> dict[tuple[str, int], list[Any]]:
    """The messages by topic and partition, in their order."""
    if not messages:
        return {}
    kind = type(messages[0])
    topics, partitions = map(kind.topic, messages), map(kind.partition, messages)
    runs: dict[tuple[str, int], list[Any]] = {}
    for place, message in zip(zip(topics, partitions, strict=True), messages, strict=True):
        run = runs.get(place)
        if run is None:
            run = runs[place] = []
        run.append(message)
    return runs
