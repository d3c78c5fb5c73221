"""Records of the catalogue that are none become dead letters, once each, whoever reads them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.kafka import ensure_topics, producer, topic_name
from console.resend import read_letters
from core.dead_letters import Letter
from core.settings import Settings
from schemas import topics
from schemas.codec import MAX_RECORD_BYTES, encode
from schemas.items import Item
from serving.item_letters import ItemLetters


@pytest.fixture
def settings(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Settings:
    made = Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path))
    ensure_topics(made)
    return made


@contextmanager
def looking(settings: Settings, process: str) -> Iterator[None]:
    """A replica looks at items meanwhile."""
    letters, stop = ItemLetters(settings, process), threading.Event()
    thread = threading.Thread(target=letters.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=60)
        assert not thread.is_alive()


def write(settings: Settings, *values: bytes | None) -> None:
    client = producer(settings, linger_ms=0)
    for number, value in enumerate(values):
        client.produce(topic_name(settings, topics.ITEMS), value, f"i{number}".encode())
    assert client.flush(60) == 0


def letters(settings: Settings, count: int) -> list[Letter]:
    """All dead letters, once there are so many."""
    deadline = time.monotonic() + 60
    while len(found := list(read_letters(settings, [topics.ITEMS]))) < count:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_a_record_that_is_no_item_is_a_dead_letter_once_over_a_change_of_turns(
    settings: Settings,
) -> None:
    good = encode(Item(item_id="i1", updated_at_ms=1, title="Mug"))
    large = b'{"item_id": "' + b"x" * MAX_RECORD_BYTES + b'"}'
    with looking(settings, "serving-1"):
        write(settings, b"{", good, None, large, b'{"item_id": 7, "updated_at_ms": 1}')
        found = letters(settings, 3)
    assert [each.reason for each in found] == ["malformed", "too_large", "invalid_item_id"]
    assert [each.key for each in found] == [b"i0", b"i3", b"i4"]
    assert found[0].value == b"{"
    assert found[0].header("shoploop_origin") == f"{topic_name(settings, topics.ITEMS)}[0]@0"
    with looking(settings, "serving-2"):
        write(settings, b'{"title": "no id"}')
        found = letters(settings, 4)
    assert [each.reason for each in found[3:]] == ["missing_item_id"]


def test_a_new_assignment_lets_nothing_of_the_last_one_be_committed(settings: Settings) -> None:
    letters = ItemLetters(settings, "serving-1")
    letters._read_to = {0: 7}
    letters._on_assign(letters._consumer, [])
    assert letters._places() == []
    letters._consumer.close()
