"""What a read says of its records: new, or stepped before by an earlier life."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition

from core.settings import Settings
from schemas import topics
from streams.store import Changes, Store
from streams.transport import Transport

NAME = "shoploop.events.v1"


class Record:
    """A record, or the end of a partition, as the consumer gives them out."""

    def __init__(self, partition: int, offset: int, *, end: bool = False) -> None:
        self._place, self._offset, self._end = partition, offset, end

    def topic(self) -> str:
        return NAME

    def partition(self) -> int:
        return self._place

    def offset(self) -> int:
        return self._offset

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._PARTITION_EOF) if self._end else None


class Scripted:
    """A consumer that assigns within its first poll and then gives out what it was told to."""

    def __init__(self, transport: Transport, goal: dict[int, int], reads: list[list[Record]]):
        self._transport, self._goal, self._reads = transport, goal, reads
        self._rest: list[Record] = []

    def poll(self, timeout: float) -> Record | None:
        if self._goal:
            self._transport._goal = {(NAME, part): at for part, at in self._goal.items()}
            self._goal = {}
        if not self._reads:
            return None
        first, *self._rest = self._reads.pop(0)
        return first

    def consume(self, most: int, timeout: float) -> list[Record]:
        return self._rest

    def pause(self, places: Any) -> None:
        pass

    def resume(self, places: Any) -> None:
        pass


@pytest.fixture
def transport(tmp_path: Path) -> Transport:
    settings = Settings(kafka="127.0.0.1:1", home=str(tmp_path))
    store = Store(tmp_path / "store")
    stage: Any = SimpleNamespace(
        short="streams.visitors", inputs=(topics.EVENTS,), closed=dict, gather_s=0.0
    )
    return Transport(settings, stage, store, print)


def given(transport: Transport) -> list[tuple[int, int, bool]]:
    read = transport.read(0.0)
    assert read is not None
    transport.read_until(read.records)
    return [(r.partition(), r.offset(), read.repeating) for r in read.records]


def test_records_of_the_read_that_brought_the_assignment_are_repeats(transport):
    script = Scripted(transport, {0: 2}, [[Record(0, 0), Record(0, 1), Record(0, 2)]])
    transport._member.consumer = script
    assert given(transport) == [(0, 0, True), (0, 1, True)]
    assert given(transport) == [(0, 2, False)]


def test_an_end_seen_beside_new_records_makes_none_of_them_a_repeat(transport):
    first = [Record(0, 0), Record(0, 1)]
    second = [Record(0, 2), Record(1, 4), Record(1, 5, end=True)]
    transport._member.consumer = Scripted(transport, {0: 2, 1: 9}, [first, second])
    assert given(transport) == [(0, 0, True), (0, 1, True)]
    assert given(transport) == [(1, 4, True)]
    assert given(transport) == [(0, 2, False)]


def test_a_record_read_before_an_assignment_is_read_again_and_counts_once(
    transport: Transport,
) -> None:
    class Assigning(Scripted):
        def consume(self, most: int, timeout: float) -> list[Record]:
            transport._assign(None, [TopicPartition(NAME, 0)])
            return []

        def assign(self, places: Any) -> None:
            pass

    member: Any = transport._member
    member.committed = lambda places: [TopicPartition(NAME, 0, 5)]
    transport._store.write(Changes(), {(NAME, 0): 5})
    member.consumer = Assigning(transport, {}, [[Record(0, 5)]])
    assert given(transport) == []
    member.consumer = Scripted(transport, {}, [[Record(0, 5)]])
    assert given(transport) == [(0, 5, False)]
