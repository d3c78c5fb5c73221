"""Every Kafka client of the product is made here, with one set of options.

Holds how producers and consumers are configured, how topics are made, and a reader that follows
topics from their beginning. Knows no record: bytes in, bytes out.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from adapters.kafka_errors import ANSWER_WITHIN_S as ANSWER_WITHIN_S
from adapters.kafka_errors import asked as asked
from adapters.kafka_errors import is_record
from adapters.kafka_errors import raise_if_lasting as raise_if_lasting
from adapters.kafka_security import Refusals, client_options, listed_topics, refused_text
from core.settings import Settings
from schemas import topics
from schemas.errors import BadSettings, Unavailable
from schemas.topics import Topic

_COMMON: dict[str, Any] = {
    "socket.nagle.disable": True,
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 1_000,
    "topic.metadata.refresh.sparse": True,
    "log_level": 2,  # a broker that is away is said by `Unavailable`, not line after line
}
# A record is 1 MB at most; a transaction's batch must fit with its headers.
_MAX_MESSAGE_BYTES = 4_000_000


def topic_name(settings: Settings, topic: Topic) -> str:
    """The topic's name in Kafka under the prefix of these settings."""
    return topic.full_name(settings.topic_prefix)


def group_name(settings: Settings, short: str) -> str:
    """The consumer group in Kafka: the topic prefix, then the short name.

    >>> group_name(Settings(), "streams.visitors")
    'shoploop.streams.visitors'
    """
    return settings.topic_prefix + short


def producer(
    settings: Settings,
    *,
    transactional_id: str | None = None,
    linger_ms: float = 1,
    open_at_most_ms: int = 60_000,
) -> Producer:
    """An idempotent producer that places keys where Java's and Faust's partitioner do.

    A transaction that is open for longer than `open_at_most_ms` is aborted by the broker.
    """
    options: dict[str, Any] = {
        **_COMMON,
        **client_options(settings),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "partitioner": "murmur2_random",
        "linger.ms": linger_ms,
        "message.max.bytes": _MAX_MESSAGE_BYTES,
        "queue.buffering.max.messages": 200_000,
    }
    if transactional_id is not None:
        options["transactional.id"] = transactional_id
        options["transaction.timeout.ms"] = open_at_most_ms
    return Producer(options)


def consumer(
    settings: Settings, group: str | None, *, from_start: bool = True, **extra: Any
) -> Consumer:
    """A consumer of committed records that commits by hand only.

    Args:
        settings: where the broker is.
        group: the full group name; None for one that assigns itself and never commits.
        from_start: where to begin when the group has no offset.
        extra: more librdkafka options, dots written as underscores.
    """
    options: dict[str, Any] = {
        **_COMMON,
        **client_options(settings),
        "group.id": group if group is not None else settings.topic_prefix + "unused",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest" if from_start else "latest",
        "isolation.level": "read_committed",
        "fetch.wait.max.ms": 100,
        "fetch.queue.backoff.ms": 5,
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 1_000,
        "partition.assignment.strategy": "range",
    }
    options.update({name.replace("_", "."): value for name, value in extra.items()})
    return Consumer(options)


def ensure_topics(
    settings: Settings, wanted: Iterable[Topic] = topics.ALL, *, within_s: float = ANSWER_WITHIN_S
) -> None:
    """Creates the topics that are missing, with their partitions and retention.

    Raises:
        BadSettings: a topic is there with another number of partitions, or the broker refuses us.
        Unavailable: the broker did not answer or refused a topic.
    """
    refusals = Refusals()
    admin = AdminClient({**_COMMON, **client_options(settings, refusals)})
    try:
        there = listed_topics(admin, refusals, within_s)
        missing = []
        for topic in wanted:
            found = there.get(topic_name(settings, topic))
            if found is None:
                missing.append(_new_topic(settings, topic))
            else:
                _same_partitions(topic, topic_name(settings, topic), len(found.partitions))
        if not missing:
            return
        for name, future in admin.create_topics(
            missing, operation_timeout=ANSWER_WITHIN_S, request_timeout=ANSWER_WITHIN_S
        ).items():
            _created(name, future)
    except KafkaException as error:
        if refusals.refused:
            raise BadSettings(refused_text(settings)) from error
        raise Unavailable(f"Kafka at {settings.kafka}: {error}") from error


def _same_partitions(topic: Topic, name: str, there: int) -> None:
    if there and there != topic.partitions:
        raise BadSettings(
            f"topic {name} has {there} partitions, this version wants {topic.partitions}: "
            "use another SHOPLOOP_TOPIC_PREFIX or a new --home, or delete the topic"
        )


def _created(name: str, future: Any) -> None:
    try:
        future.result(timeout=ANSWER_WITHIN_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise Unavailable(f"topic {name} could not be created: {error}") from error


def _new_topic(settings: Settings, topic: Topic) -> NewTopic:
    config = {"cleanup.policy": topic.cleanup, "message.timestamp.type": "CreateTime"}
    if topic.retention_ms is not None:
        config["retention.ms"] = str(topic.retention_ms)
    return NewTopic(topic_name(settings, topic), num_partitions=topic.partitions, config=config)


def end_offsets(settings: Settings, client: Consumer, topic: Topic) -> dict[int, int]:
    """The next offset of each partition of a topic, transaction markers counted.

    Raises:
        Unavailable: the broker did not answer.
    """
    name = topic_name(settings, topic)
    return {number: ends_of(client, name, number)[1] for number in range(topic.partitions)}


def ends_of(
    client: Consumer, name: str, number: int, within_s: float = ANSWER_WITHIN_S
) -> tuple[int, int]:
    """The first and the next offset of a partition; raises Unavailable."""
    place = TopicPartition(name, number)
    low, high = asked(
        lambda: client.get_watermark_offsets(place, timeout=ANSWER_WITHIN_S),
        f"offsets of {name}[{number}]",
        within_s,
    )
    return int(low), int(high)


class Follower:
    """Reads topics from their beginning (or from given offsets) without a group.

    Several topics are read side by side; order holds within a partition only.

    Args:
        settings: where the broker is and what the topics are called.
        followed: the topics.
        start: next offset by (bare topic name, partition); the beginning where absent.
        only: which partitions of a topic, by its bare name; all where absent.

    Raises:
        Unavailable: the broker did not say where a partition begins.
    """

    def __init__(
        self,
        settings: Settings,
        followed: Sequence[Topic],
        start: dict[tuple[str, int], int] | None = None,
        only: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        self._consumer = consumer(settings, None, enable_partition_eof=True)
        self._bare = {topic_name(settings, topic): topic.name for topic in followed}
        begin = start or {}
        places = []
        for topic in followed:
            name = topic_name(settings, topic)
            for number in (only or {}).get(topic.name, range(topic.partitions)):
                first = begin.get((topic.name, number))
                if first is None:
                    # Asked for by its logical name, an offset is looked up half a second later.
                    first, _ = ends_of(self._consumer, name, number)
                places.append(TopicPartition(name, number, first))
        self._behind = {(place.topic, place.partition) for place in places}
        self._ended: dict[tuple[str, int], int] = {}  # where the end was met: past its markers
        self._consumer.assign(places)

    @property
    def caught_up(self) -> bool:
        """True once every partition has been read to its end at least once."""
        return not self._behind

    def poll(self, timeout_s: float, at_most: int = 2_000) -> list[tuple[str, Message]]:
        """What has come, as (bare topic name, message); at once when there is something.

        Raises:
            Unavailable: the broker reported an error that does not pass by itself.
        """
        first = self._consumer.poll(timeout_s)
        if first is None:
            return []
        rest = self._consumer.consume(at_most - 1, timeout=0) if at_most > 1 else []
        found = []
        for message in (first, *rest):
            if self._usable(message):
                found.append((self._bare[str(message.topic())], message))
        return found

    def catch_up(self, within_s: float) -> list[tuple[str, Message]]:
        """Everything up to the ends of the topics; raises as `until_caught_up`."""
        return list(self.until_caught_up(within_s))

    def until_caught_up(self, within_s: float) -> Iterator[tuple[str, Message]]:
        """The same, a poll at a time, so that what was dealt with takes no memory.

        Raises:
            Unavailable: the ends were not reached in time.
        """
        deadline = time.monotonic() + within_s
        while not self.caught_up:
            if time.monotonic() > deadline:
                raise Unavailable(f"not read to the end within {within_s:.0f} s: {self._behind}")
            yield from self.poll(0.2)

    def ends(self) -> dict[tuple[str, int], int]:
        """Where each partition ends as far as this client knows, by (full topic name, number)."""
        found = {}
        for place in self._consumer.assignment():
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            found[(place.topic, place.partition)] = int(end)
        return found

    def positions(self) -> dict[tuple[str, int], int]:
        """How far each partition has been read; what ends it without a record counts as read."""
        found = dict(self._ended)
        for place in self._consumer.position(self._consumer.assignment()):
            key = (place.topic, place.partition)
            found[key] = max(place.offset, found.get(key, 0))
        return found

    def close(self) -> None:
        """Leaves the broker."""
        self._consumer.close()

    def _usable(self, message: Message) -> bool:
        error = message.error()
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            place = (str(message.topic()), int(message.partition() or 0))
            self._behind.discard(place)
            self._ended[place] = int(message.offset() or 0)
            return False
        return is_record(message)
