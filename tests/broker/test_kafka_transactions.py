"""Whatever the broker breaks is taken back and sent again, once; nobody's offsets count."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from adapters.kafka import Follower, consumer, ensure_topics, group_name, topic_name
from adapters.kafka_transactions import Superseded, Transactions
from core.settings import Settings
from schemas import topics
from streams.store import Changes, Out, Store
from streams.transport import Transport

WITHIN_S = 60.0
TOO_LARGE = 2_000_000  # for the broker; the client takes it


class Record:
    """A record whose bytes are asked for at the moment that it is sent."""

    key, partition, headers = b"k", None, ()

    def __init__(self, topic: str, value: Callable[[], bytes]) -> None:
        self.topic, self._value = topic, value

    @property
    def value(self) -> bytes:
        return self._value()


@pytest.fixture
def settings(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Settings:
    made = Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path))
    ensure_topics(made, (topics.AUDIT, topics.ERASURES))
    return made


def written(settings: Settings) -> list[bytes]:
    reader = Follower(settings, (topics.AUDIT,))
    try:
        return [message.value() or b"" for _, message in reader.catch_up(WITHIN_S)]
    finally:
        reader.close()


def left_membership(settings: Settings) -> Any:
    """The group's metadata of a member that is gone."""
    client = consumer(settings, group_name(settings, "stage"))
    client.subscribe([topic_name(settings, topics.ERASURES)])
    deadline = time.monotonic() + WITHIN_S
    while not client.assignment():
        assert time.monotonic() < deadline
        client.poll(0.1)
    found = client.consumer_group_metadata()
    client.close()
    return found


@pytest.mark.parametrize("early", [False, True])
def test_what_breaks_while_it_is_written_is_sent_again_whole(
    settings: Settings, early: bool
) -> None:
    name = topic_name(settings, topics.AUDIT)
    transactions = Transactions(settings, group_name(settings, "writer"), lambda: False)
    transactions.open()
    values = iter([os.urandom(TOO_LARGE)])

    def after() -> bytes:
        """Once the broker has refused the first, the client takes no more for this transaction."""
        transactions._producer.flush(WITHIN_S)
        return b"second"

    records = [Record(name, lambda: next(values, b"first")), Record(name, after)]
    if early:
        transactions.begin(records)
    transactions.send(records, ())
    assert written(settings) == [b"first", b"second"]


def test_one_that_is_no_member_any_more_begins_anew_and_sends_its_batch_once(
    settings: Settings, tmp_path: Path
) -> None:
    store, loads = Store(tmp_path / "store"), []
    stage: Any = SimpleNamespace(short="stage", inputs=(topics.ERASURES,), closed=dict, gather_s=0)
    given_away = left_membership(settings)
    transport = Transport(settings, stage, store, loads.append)
    transport.open()

    def assigned() -> None:
        deadline = time.monotonic() + WITHIN_S
        while not transport.assigned:
            assert time.monotonic() < deadline
            transport.read(0.1)

    assigned()
    transport._member.metadata = given_away  # as if the broker had not heard of it for too long
    place = (topic_name(settings, topics.ERASURES), 0)
    transport.offsets[place] = 7
    changes = Changes()
    changes.outs = [Out(0, topic_name(settings, topics.AUDIT), b"k", b"once")]
    transport.begin(changes.outs)
    store.write(changes, transport.offsets)
    with pytest.raises(Superseded) as broken:
        transport.send(changes.outs)
    assert written(settings) == []
    transport.begin_anew(broken.value)
    assert (transport.assigned, transport.catching_up) == ([], True)
    assigned()
    assert not transport.catching_up
    assert loads[-2:] == [[], [0]]
    assert written(settings) == [b"once"]
    transport.close()
    client = consumer(settings, group_name(settings, "stage"))
    (at,) = client.committed([TopicPartition(*place)], WITHIN_S)
    client.close()
    assert at.offset == 7
