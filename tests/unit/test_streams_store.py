"""The stages' store, and the task stage's snapshot and journal."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from join_factory import AFTER_MS, DAY_MS, START_MS, answer

from core.join import close, step
from core.label_plan import windows_of
from core.settings import Settings
from core.verdict import judged_of
from core.visitor_facts import Visitor
from schemas import topics
from schemas.codec import encode
from schemas.errors import Unavailable
from schemas.watermarks import Watermark
from streams.store import Changes, Entry, Out, Store
from streams.tasks import TaskRoom


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "stage.rocksdb")
    yield opened
    opened.close()


def changes(value: bytes, *outs: bytes) -> Changes:
    made = Changes()
    made.put((0, "kind", "a"), value, 7)
    made.outs += [Out(0, "topic", b"key", out) for out in outs]
    return made


def test_a_batch_is_there_after_opening_again(store: Store) -> None:
    first = Store(store.path.with_name("first"))
    first.write(changes(b"1", b"out"), {("events", 0): 5})
    first.close()
    again = Store(first.path)
    assert again.get((0, "kind", "a")) == b"1"
    assert (again.offsets(), again.batch) == ({("events", 0): 5}, 1)
    assert [out.value for out in again.outbox()] == [b"out"]
    again.close()


def test_a_store_that_is_open_elsewhere_is_refused(store: Store) -> None:
    with pytest.raises(Unavailable, match=r"state at .*stage\.rocksdb"):
        Store(store.path)


def test_a_checkpoint_takes_the_place_of_the_journal(store: Store) -> None:
    store.note({("events", 0): 5}, 70, live=True)
    store.note({("events", 0): 9, ("events", 1): 2}, 80, live=False, silent=True)
    assert store.journal() == [
        Entry(1, 70, True, False, [("events", 0, 5)]),
        Entry(2, 80, False, True, [("events", 0, 9), ("events", 1, 2)]),
    ]
    assert (store.batch, store.offsets()) == (2, {})
    under_way = store.checkpoint(changes(b"1"), iter(()), {("events", 0): 9})
    store.note({("events", 0): 12}, 90, live=True)
    deque(under_way, maxlen=0)
    assert store.journal() == [Entry(3, 90, True, False, [("events", 0, 12)])]
    assert store.offsets() == {("events", 0): 9}
    assert (store.batch, store.get((0, "kind", "a"))) == (3, b"1")


def test_a_checkpoint_that_is_killed_anywhere_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "killed")
    old = changes(b"1")
    old.put((0, "kind", "b"), b"1")
    deque(store.checkpoint(old, iter(()), {("events", 0): 5}), maxlen=0)
    store.note({("events", 0): 9}, 70, live=True)
    steps = 0
    while True:
        new = changes(b"2")
        new.delete((0, "kind", "b"))
        under_way = store.checkpoint(new, iter(()), {("events", 0): 9})
        steps += 1
        if len(list(islice(under_way, steps))) < steps:
            break
        assert (store.get((0, "kind", "a")), store.get((0, "kind", "b"))) == (b"1", b"1")
        assert ([each.batch for each in store.journal()], store.offsets()) == (
            [1],
            {("events", 0): 5},
        )
        store.close()
        store = Store(store.path)
    assert steps > 3
    assert (store.get((0, "kind", "a")), store.get((0, "kind", "b"))) == (b"2", None)
    assert (store.journal(), store.offsets()) == ([], {("events", 0): 9})
    store.close()


def test_rows_come_by_time_and_then_key(store: Store) -> None:
    made = Changes()
    for key, at_ms in (("b", 1), ("a", 2), ("c", 1), ("d", None)):
        made.put((0, "kind", key), key.encode(), at_ms)
    made.put((0, "kinder", "e"), b"e", 0)
    made.put((1, "kind", "f"), b"f", 0)
    store.write(made, {})
    assert [key for key, _, _ in store.rows(0, "kind")] == ["d", "b", "c", "a"]
    assert store.moments(0, "kind") == [(1, "b"), (1, "c"), (2, "a")]


def test_the_outbox_holds_the_newest_batch_alone(store: Store) -> None:
    store.write(changes(b"1", b"first"), {})
    store.write(changes(b"2", b"second"), {})
    assert [out.value for out in store.outbox()] == [b"second"]


def test_a_batch_that_cannot_be_written_changes_nothing(store: Store) -> None:
    store.write(changes(b"1"), {("events", 0): 5})
    broken = changes(b"2")
    broken.puts[(0, "kind", "b")] = (None, None)  # type: ignore[assignment]
    with pytest.raises(TypeError):
        store.write(broken, {("events", 0): 6})
    assert store.get((0, "kind", "a")) == b"1"
    assert (store.offsets(), store.batch) == ({("events", 0): 5}, 1)


def test_the_last_word_on_a_row_holds(store: Store) -> None:
    made = changes(b"1")
    made.delete((0, "kind", "a"))
    made.put((0, "kind", "b"), b"2")
    store.write(made, {})
    assert [key for key, _, _ in store.rows(0, "kind")] == ["b"]


def test_a_backup_is_a_whole_store(store: Store, tmp_path: Path) -> None:
    store.write(changes(b"1"), {("events", 0): 5})
    store.back_up(tmp_path / "copy.rocksdb")
    copy = Store(tmp_path / "copy.rocksdb")
    assert (copy.get((0, "kind", "a")), copy.offsets()) == (b"1", store.offsets())
    copy.close()


class Slot:
    """A record of `slots` as Kafka would give it."""

    def __init__(self, value: bytes, partition: int = 0) -> None:
        self._value, self._partition = value, partition

    def topic(self) -> str:
        return "shoploop.slots.v1"

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return 0

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return self._value

    def headers(self) -> None:
        return None


def slots_of(hours: int) -> list[Slot]:
    """Judged lists of as many hours, a barrier after each hour."""
    settings = Settings()
    records = []
    for hour in range(hours):
        visitor, shown = Visitor(), answer(f"p{hour}", START_MS + hour * 3_600_000)
        step(visitor, shown, windows_of(settings), 0)
        for verdict in close(visitor, shown.served_at_ms + DAY_MS, windows_of(settings)).verdicts:
            records.append(Slot(encode(judged_of(shown, verdict))))
        at_ms = shown.served_at_ms + DAY_MS
        mark = encode(Watermark(event_time_ms=at_ms, barrier=hour, run_id="run"))
        records += [Slot(mark, number) for number in range(topics.SLOTS.partitions)]
    return records


@given(st.integers(0, 40), st.booleans())
def test_the_task_stage_goes_on_from_its_journal(
    tmp_path_factory: pytest.TempPathFactory, cut: int, clean: bool
) -> None:
    records = slots_of(6)
    store = Store(tmp_path_factory.mktemp("tasks") / "tasks.rocksdb")
    whole, before, after = (TaskRoom(Settings(), dict) for _ in range(3))
    whole.load(Store(store.path.with_name("whole.rocksdb")), [0, 1, 2, 3])
    expected = said(whole.step(list(records), AFTER_MS, live=False))
    before.load(store, [0, 1, 2, 3])
    first = before.step(list(records[:cut]), AFTER_MS, live=False)
    store.write(first, {})
    if clean:
        rest = Changes()
        deque(before.checkpoint(rest), maxlen=0)
        store.write(rest, {})
    after.load(store, [0, 1, 2, 3])
    second = after.step(list(records[cut:]), AFTER_MS, live=False)
    assert said(first) + said(second) == expected
    store.close()


def said(made: Changes) -> list[tuple[str, bytes | None]]:
    return [(out.topic, out.value) for out in made.outs]
