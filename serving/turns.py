"""Whose turn it is to answer questions over Kafka, and from where on.

Processes of all visitors share the partitions of `requests` out in the group `serving`. Processes
of one share of visitors do so in a group of their share, which says whose turn it is and refuses
the offsets of one whose turn is over. What is answered is an offset of the group `serving` in
either case, so that dividing visitors, or no longer dividing them, loses and repeats no answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from adapters.kafka import ANSWER_WITHIN_S, consumer, group_name, topic_name
from core.partition_share import Share
from core.settings import Settings
from schemas import topics
from schemas.errors import Unavailable

GROUP = "serving"

log = logging.getLogger(__name__)


def group_of(share: Share) -> str:
    """The short name of the group in which processes of this share take turns.

    >>> group_of(Share((1,), 2)), group_of(Share((0, 1), 2))
    ('serving.share.1', 'serving')
    """
    return GROUP if share.is_whole else f"{GROUP}.share.{share.name}"


class Turns:
    """One process's place in the groups. Used by one thread."""

    def __init__(self, settings: Settings, share: Share) -> None:
        self._share = share
        self._topic = topic_name(settings, topics.REQUESTS)
        self.consumer: Consumer = consumer(settings, group_name(settings, group_of(share)))
        self._kept = self.consumer
        if not share.is_whole:
            self._kept = consumer(settings, group_name(settings, GROUP))

    def begin(self, on_revoke: Callable[[Consumer, Any], None]) -> None:
        """Joins; `on_revoke` is called before partitions go to another process."""
        if self._share.is_whole:
            self.consumer.subscribe([self._topic], on_revoke=on_revoke)
        else:
            self.consumer.subscribe([self._topic], on_revoke=on_revoke, on_assign=self._on_assign)

    def groups(self) -> list[Any]:
        """The groups in which offsets are committed: all of them, or none."""
        found = [self.consumer.consumer_group_metadata()]
        if self._kept is not self.consumer:
            found.append(self._kept.consumer_group_metadata())
        return found

    def answered(self, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        """The same partitions, each at the first question without an answer.

        It waits for transactions that are open on them.

        Raises:
            Unavailable: the broker did not answer.
        """
        try:
            found = self._kept.committed(list(places), ANSWER_WITHIN_S) if places else []
        except KafkaException as error:
            raise Unavailable(f"offsets of {self._topic}: {error}") from error
        return [
            TopicPartition(
                self._topic, at.partition, at.offset if at.offset >= 0 else OFFSET_BEGINNING
            )
            for at in found
        ]

    def rewind(self) -> None:
        """Goes back to where the broker says that questions are answered up to.

        Raises:
            Unavailable: the broker did not answer.
        """
        for place in self.answered(self.consumer.assignment()):
            self.consumer.seek(place)

    def close(self) -> None:
        """Leaves."""
        self.consumer.close()
        if self._kept is not self.consumer:
            self._kept.close()

    def _on_assign(self, client: Consumer, places: Sequence[TopicPartition]) -> None:
        """Reads those that are of the share: the others are read by processes of other shares."""
        mine = [place for place in places if place.partition in self._share.partitions]
        client.assign(self.answered(mine))
        log.info("answers questions of partitions %s", [place.partition for place in mine])
