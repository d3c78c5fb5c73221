"""How far each consumer group is behind: committed offsets against the ends of its topics."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from adapters.kafka import group_name
from adapters.kafka_security import client_options
from core.settings import Settings
from schemas.errors import Unavailable

GROUPS = ("streams.visitors", "streams.tasks", "sink", "serving", "shadow", "trainer")
ANSWER_WITHIN_S = 5.0
ASKED_AGAIN_S = 0.05
COORDINATING = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)
Answer = TypeVar("Answer")


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
    groups = [group_name(settings, short) for short in GROUPS]
    try:
        admin.list_topics(timeout=ANSWER_WITHIN_S)
        return once_coordinated(lambda: [_lag(admin, group) for group in groups])
    except KafkaException as error:
        raise Unavailable(f"Kafka at {settings.kafka}: {error.args[0].str()}") from error


def once_coordinated(asked: Callable[[], Answer], within_s: float = ANSWER_WITHIN_S) -> Answer:
    """What is found, asked again while a broker that has just begun still reads its groups.

    Raises:
        KafkaException: any other error, or it takes longer than `within_s` seconds.
    """
    until_s = time.monotonic() + within_s
    while True:
        try:
            return asked()
        except KafkaException as error:
            if error.args[0].code() not in COORDINATING or time.monotonic() > until_s:
                raise
        time.sleep(ASKED_AGAIN_S)


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
