"""A feed is taken in by slices of time: whoever answers has the lock between two of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from swaps_factory import following

from core.settings import Settings
from serving.checkpoint import Checkpoints
from serving.state import SLICE_S, Live
from serving.state_store import StateStore

RECORDS = 5


class Counted:
    """The state's lock, which counts how often it was taken."""

    def __init__(self) -> None:
        self.lock, self.taken = threading.Lock(), 0

    def __enter__(self) -> None:
        self.lock.acquire()
        self.taken += 1

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.lock.release()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Any]:
    with following(tmp_path) as replica:
        store = StateStore(tmp_path / "state")
        made: Any = Live(Settings(), replica.versions, Checkpoints(store, Settings()))
        made.lock = Counted()
        yield made
        store.close()


def slow(live: Any, found: list[int]) -> Callable[[int], None]:
    """Takes a record for as long as a slice lasts, by the lock's holder alone."""

    def take(record: int) -> None:
        assert live.lock.lock.locked()
        until_s = time.perf_counter() + SLICE_S
        while time.perf_counter() < until_s:
            pass
        found.append(record)

    return take


@pytest.mark.parametrize("caught_up", [False, True])
def test_each_slice_ends_in_time_and_titles_are_read_in_it(live: Any, caught_up: bool) -> None:
    found: list[int] = []
    titles: list[int] = []
    live.caught_up = caught_up
    live.state.read_titles = lambda: titles.append(len(found))
    live._in_slices(deque(range(RECORDS)), slow(live, found))
    assert found == [*range(RECORDS)]
    assert live.lock.taken >= RECORDS  # a slice that waited for a core may end with nothing
    assert {*titles, 0} == ({*range(RECORDS + 1)} if caught_up else {0})


def test_an_answer_has_its_turn_however_long_a_feed_is(live: Any) -> None:
    waiting, answered, live.caught_up = deque([0]), threading.Event(), True
    deadline_s = time.monotonic() + 60

    def answer() -> None:
        with live.lock:
            answered.set()

    def take(record: int) -> None:
        if not answered.is_set() and time.monotonic() < deadline_s:
            waiting.append(record + 1)

    asking = threading.Thread(target=answer)
    asking.start()
    live._in_slices(waiting, take)
    assert answered.is_set()
    asking.join()
