"""Whose turn it is to answer questions over Kafka, and from where on.

Processes of all visitors share the partitions of `requests` out in the group `serving`. Processes
of one share of visitors do so in a group of their share, which says whose turn it is and refuses
the offsets of one whose turn is over. What is answered is an offset of the group `serving` in
either case, so that dividing visitors, or no longer dividing them, loses and repeats no answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from adapters.kafka import consumer, group_name, topic_name
from adapters.kafka_groups import Groups
from adapters.kafka_offsets import committed
from core.partition_share import Share
from core.settings import Settings
from schemas import topics
from schemas.errors import BadSettings

GROUP = "serving"
GONE_WITHIN_S, LOOK_S = 20.0, 0.25

log = logging.getLogger(__name__)


def group_of(share: Share) -> str:
    """The short name of the group in which processes of this share take turns.

    >>> group_of(Share((1,), 2)), group_of(Share((0, 1), 2))
    ('serving.share.1', 'serving')
    """
    return GROUP if share.is_whole else f"{GROUP}.share.{share.name}"


def is_rival(group: str, share: Share) -> bool:
    """Whether members of a group would answer questions that this share's processes answer.

    >>> is_rival("serving", Share((1,), 2)), is_rival("serving.share.0", Share((1,), 2))
    (True, False)
    >>> is_rival("serving.share.0", Share((0, 1), 2)), is_rival("serving", Share((0, 1), 2))
    (True, False)
    """
    if group == group_of(share):
        return False
    if group == GROUP:
        return True
    kind, _, name = group.rpartition(".")
    numbers = set(name.split("-"))
    return kind == f"{GROUP}.share" and not numbers.isdisjoint(map(str, share.partitions))


class Turns:
    """One process's place in the groups; `number` changes with its turn. Used by one thread."""

    def __init__(self, settings: Settings, share: Share) -> None:
        self._settings = settings
        self._share = share
        self._topic = topic_name(settings, topics.REQUESTS)
        self.kept_in = group_name(settings, GROUP)
        self.number = 0
        self._made()
        self._give_up: Callable[[], bool] = lambda: False
        self._unblock: Callable[[TopicPartition], None] = lambda _place: None
        self._on_revoke: Callable[[Consumer, Any], None] = lambda *_: None

    def _made(self) -> None:
        group = group_name(self._settings, group_of(self._share))
        self.consumer = self._kept = consumer(self._settings, group)
        if not self._share.is_whole:
            self._kept = consumer(self._settings, self.kept_in)
        self._member: Any = None

    def _join(self) -> None:
        self.consumer.subscribe([self._topic], on_revoke=self._revoked, on_assign=self._on_assign)

    def _revoked(self, client: Consumer, places: Sequence[TopicPartition]) -> None:
        self.number += 1
        self._on_revoke(client, places)

    def begin(
        self,
        on_revoke: Callable[[Consumer, Any], None],
        give_up: Callable[[], bool],
        unblock: Callable[[TopicPartition], None] = lambda _place: None,
    ) -> None:
        """Joins.

        Args:
            on_revoke: called before partitions go to another process.
            give_up: whether to wait no longer for the broker.
            unblock: see `adapters.kafka_offsets.committed`.

        Raises:
            BadSettings: processes of other shares answer some of the same questions.
            Unavailable: the broker did not answer.
        """
        self._on_revoke, self._give_up, self._unblock = on_revoke, give_up, unblock
        self._refuse_rivals(give_up)
        self._join()

    def groups(self) -> list[Any]:
        """The groups in which offsets are committed, as of the assignment: all of them, or none."""
        found = [self._member]
        if self._kept is not self.consumer:
            found.append(self._kept.consumer_group_metadata())
        return found

    def answered(self, places: Sequence[TopicPartition]) -> list[TopicPartition]:
        """The same partitions, each at the first question without an answer.

        It waits for transactions that are open on them.

        Raises:
            Unavailable: the broker did not answer before giving up.
        """
        return [
            TopicPartition(
                self._topic, at.partition, at.offset if at.offset >= 0 else OFFSET_BEGINNING
            )
            for at in committed(self._kept, places, self._give_up, self._unblock)
        ]

    def begin_anew(self) -> None:
        """Joins as a new process would, where the broker says that questions are answered up to."""
        self.close()
        self._made()
        self._join()

    def close(self) -> None:
        """Leaves."""
        self.consumer.close()
        if self._kept is not self.consumer:
            self._kept.close()

    def _refuse_rivals(self, give_up: Callable[[], bool]) -> None:
        """Waits for processes that are leaving; one that was killed takes its session's time."""
        groups, first = Groups(self._settings), group_name(self._settings, "")
        deadline_s = time.monotonic() + GONE_WITHIN_S
        while rivals := groups.with_members(
            lambda name: name.startswith(first) and is_rival(name.removeprefix(first), self._share)
        ):
            if time.monotonic() > deadline_s:
                raise BadSettings(
                    f"SHOPLOOP_SERVED_PARTITIONS={self._settings.served_partitions!r}: processes "
                    f"of {', '.join(rivals)} answer some of the same requests; stop them first"
                )
            if give_up():
                return
            time.sleep(LOOK_S)

    def _on_assign(self, client: Consumer, places: Sequence[TopicPartition]) -> None:
        """Reads those that are of the share: the others are read by processes of other shares."""
        self.number += 1
        self._member = client.consumer_group_metadata()
        mine = [place for place in places if place.partition in self._share.partitions]
        client.assign(self.answered(mine))
        log.info("answers questions of partitions %s", [place.partition for place in mine])
