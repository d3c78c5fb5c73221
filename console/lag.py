"""How far each consumer group is behind: committed offsets against the ends of its topics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from adapters.kafka import group_name
from adapters.kafka_security import client_options
from core.settings import Settings
from schemas.errors import Unavailable

GROUPS = ("streams.visitors", "streams.tasks", "sink", "serving", "shadow", "trainer")
ANSWER_WITHIN_S = 5.0


@dataclass(frozen=True)
class Lag:
    """Records a group has not yet committed, over all of its partitions; none: never committed."""

    group: str
    records: int | None


def group_lags(settings: Settings) -> list[Lag]:
    """The lag of each of the product's groups.

    Raises:
        Unavailable: the broker does not answer.
    """
    admin = AdminClient({**client_options(settings), "log_level": 0})
    try:
        admin.list_topics(timeout=ANSWER_WITHIN_S)
        return [_lag(admin, group_name(settings, short)) for short in GROUPS]
    except KafkaException as error:
        raise Unavailable(f"Kafka at {settings.kafka}: {error.args[0].str()}") from error


def _lag(admin: Any, group: str) -> Lag:
    asked = admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)], request_timeout=ANSWER_WITHIN_S
    )
    committed = [
        place
        for place in asked[group].result(ANSWER_WITHIN_S).topic_partitions
        if place.offset >= 0
    ]
    if not committed:
        return Lag(group, None)
    latest: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    ends = admin.list_offsets(
        {TopicPartition(place.topic, place.partition): latest for place in committed},
        request_timeout=ANSWER_WITHIN_S,
    )
    end_of = {
        (place.topic, place.partition): future.result(ANSWER_WITHIN_S).offset
        for place, future in ends.items()
    }
    behind = (end_of[place.topic, place.partition] - place.offset for place in committed)
    return Lag(group, sum(max(0, records) for records in behind))
