"""A broker that is away when the sink asks which topics there are: nothing read is passed over."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from adapters.kafka import topic_name
from adapters.kafka_errors import BrokerAway
from core.settings import Settings
from schemas import topics
from streams.sink import Sink
from streams.sink_feed import Feed

TOPIC = topic_name(Settings(), topics.PREDICTIONS)


class Message:
    """A record without a value, of which only the offset counts."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def error(self) -> None:
        """None: it is a record."""

    def topic(self) -> str:
        return TOPIC

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset


class World:
    """A sink whose store has all below 7, with what comes, what is stored, and a broker."""

    def __init__(self, home: Path) -> None:
        self.come: list[list[int]] = []
        self.flushed: list[Any] = []
        self.away = False
        resume = SimpleNamespace(next_offset={0: 7})
        store: Any = SimpleNamespace(stored={}, resume=lambda *_: resume)
        start = self.flushed.append
        writer: Any = SimpleNamespace(
            settle=list, take=lambda: None, start=start, busy=True, took_s=0.0
        )
        self.feed = feed = Feed(Settings(home=str(home), kafka="127.0.0.1:9"), store, lambda: None)
        feed._consumer.close()
        fake: Any = self
        feed._consumer, feed._ids = fake, fake
        feed._on_assign(fake, [TopicPartition(TOPIC, 0)])
        self.sink = Sink(feed, store, writer)
        self.sink.step()

    def consume(self, *_: Any, **__: Any) -> list[Message]:
        return [Message(offset) for offset in self.come.pop(0)] if self.come else []

    def assign(self, places: list[TopicPartition]) -> None:
        for name in self.feed._intakes:
            intake: Any = SimpleNamespace(pieces=lambda *_: [])
            self.feed._intakes[name] = intake

    def unassign(self) -> None:
        """Reads nothing."""

    def __call__(self, names: set[str]) -> dict[str, str]:
        if self.away:
            raise BrokerAway("no answer")
        return dict.fromkeys(names, "id")

    def passed(self) -> list[int]:
        """How far the positions are that were stored."""
        return [at for flush in self.flushed for at in flush.next_offsets.values()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_records_read_when_a_topic_may_be_another_are_read_again(world: World) -> None:
    world.come, world.away = [[7, 8, 5]], True
    world.sink.step()
    world.away = False
    world.sink.flush()
    assert world.passed() == []
    world.sink.step()
    assert list(world.feed.positions.values()) == [7]
    world.come = [[7, 8, 9]]
    world.sink.step()
    world.sink.flush()
    assert world.passed() == [10]


def test_records_in_hand_when_the_place_is_given_away_are_not_stored(world: World) -> None:
    world.come = [[7]]
    world.sink.step()
    world.feed._on_revoke(None, [])
    world.away = True
    world.sink.step()
    world.away = False
    world.sink.flush()
    assert world.passed() == []
