"""A visitor stage that is killed anywhere, and what its journal makes of it: nothing else."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from join_factory import AFTER_MS, HOUR_MS, START_MS, answer, cart, click, purchase

from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder, encode
from schemas.events import EventWatermark
from schemas.outcomes import JudgedBatch, SlotRecord
from schemas.watermarks import Watermark
from streams.again import Again
from streams.stage import checkpoint_of
from streams.store import Entry, Out, Store
from streams.visitors import VisitorStage

_slot = Decoder(SlotRecord)
KINDS = ("visitor", "answer", "seen", "orders", "held", "clock", "running", "traffic")
ROWS = list(itertools.product(range(topics.VISITOR_PARTITIONS), KINDS))
EVENTS, ANSWERS = topics.EVENTS.full_name(), topics.PREDICTIONS.full_name()


class Input:
    """A record as Kafka gives it."""

    def __init__(self, topic: str, partition: int, offset: int, value: bytes) -> None:
        self._topic, self._partition, self._offset, self._value = topic, partition, offset, value

    def topic(self) -> str:
        return self._topic

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> None:
        return None

    def value(self) -> bytes:
        return self._value

    def headers(self) -> None:
        return None


def inputs(seed: int, hours: int = 6) -> list[Input]:
    """Answers, what followed, late and repeated events, a barrier an hour on each topic."""
    chance = random.Random(seed)
    offsets: dict[tuple[str, int], itertools.count[int]] = {}
    found: list[Input] = []

    def put(topic: str, partition: int, value: bytes) -> None:
        offset = next(offsets.setdefault((topic, partition), itertools.count()))
        found.append(Input(topic, partition, offset, value))

    for hour in range(hours):
        at_ms = START_MS + hour * HOUR_MS
        for number in range(4):
            name = f"{hour}-{number}"
            partition = number % topics.VISITOR_PARTITIONS
            put(ANSWERS, partition, encode(answer(f"p{name}", at_ms + number)))
            make = chance.choice([click, cart, purchase])
            late_ms = chance.choice([0, 0, 2 * HOUR_MS])
            token = chance.choice([None, "nobody"])
            event = make(f"e{name}", at_ms + 60_000 - late_ms, chance.choice("abcx"), token=token)
            for _ in range(chance.choice([1, 1, 2])):
                put(EVENTS, partition, encode(event))
        final = hour == hours - 1
        until = at_ms + (80 * HOUR_MS if final else HOUR_MS // 2)
        for partition in range(topics.VISITOR_PARTITIONS):
            event_mark = EventWatermark(event_time_ms=until, barrier=hour, run_id="r", final=final)
            mark = Watermark(event_time_ms=until, barrier=hour, run_id="r", final=final)
            put(EVENTS, partition, encode(event_mark))
            put(ANSWERS, partition, encode(mark))
    return found


def interleaved(records: list[Input], chance: random.Random) -> list[Input]:
    """The same records, each place in its own order, places mixed anew."""
    places: dict[tuple[str, int], list[Input]] = {}
    for record in records:
        places.setdefault((record.topic(), record.partition()), []).append(record)
    mixed = []
    while places:
        place = chance.choice(sorted(places))
        mixed.append(places[place].pop(0))
        if not places[place]:
            del places[place]
    return mixed


def said(outs: list[Out]) -> list[tuple[object, ...]]:
    """What readers see, but for the heartbeat and how entries were gathered into records."""
    found: list[tuple[object, ...]] = []
    for out in outs:
        decoded = _slot(out.value or b"") if "slots" in out.topic else None
        if isinstance(decoded, JudgedBatch):
            found += [(out.topic, out.source, encode(entry)) for entry in decoded.entries]
        elif "progress" not in out.topic:
            found.append((out.topic, out.partition, out.value))
    return sorted(found, key=repr)


def stage_of(store: Store) -> VisitorStage:
    stage = VisitorStage(Settings())
    stage.load(store, list(range(topics.VISITOR_PARTITIONS)))
    return stage


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=20)
def test_how_topics_interleave_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, seed: int, mix: int
) -> None:
    results = []
    for records in (inputs(seed), interleaved(inputs(seed), random.Random(mix))):
        store = Store(tmp_path_factory.mktemp("a") / "s")
        results.append(said(stage_of(store).step(records, AFTER_MS, live=False).outs))
        store.close()
    assert results[0] == results[1]


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=20)
def test_a_stage_that_is_killed_says_nothing_twice_and_loses_nothing(
    tmp_path_factory: pytest.TempPathFactory, seed: int, mix: int
) -> None:
    records = inputs(seed)
    whole, cut = whole_and_killed(tmp_path_factory, records, random.Random(mix))
    assert said(cut) == said(whole)


def whole_and_killed(
    folders: pytest.TempPathFactory, records: list[Input], chance: random.Random
) -> tuple[list[Out], list[Out]]:
    """What a stage says in one batch, and in many with checkpoints and deaths between them."""
    whole = Store(folders.mktemp("whole") / "s")
    expected = stage_of(whole).step(list(records), AFTER_MS, live=False).outs
    whole.close()
    store = Store(folders.mktemp("killed") / "s")
    stage, at = stage_of(store), 0
    outs: list[Out] = []
    offsets: dict[tuple[str, int], int] = {}
    under_way: Iterator[None] = iter(())
    while at < len(records):
        batch = records[at : at + chance.randint(1, 9)]
        at += len(batch)
        outs += stage.step(list(batch), AFTER_MS, live=False).outs
        until = {(r.topic(), r.partition()): r.offset() + 1 for r in batch}
        store.note(until, AFTER_MS, live=False)
        offsets |= until
        if chance.random() < 0.3:
            deque(under_way, maxlen=0)
            under_way = checkpoint_of(stage, store, offsets)
        deque(itertools.islice(under_way, chance.randint(0, 30)), maxlen=0)
        if chance.random() < 0.3:
            stage, under_way = killed(store, records, chance), iter(())
    store.close()
    return expected, outs


def killed(store: Store, records: list[Input], chance: random.Random) -> VisitorStage:
    """The stage of the next life: the state of the checkpoint, then the journal stepped again."""
    stage, offsets = stage_of(store), store.offsets()
    places = {(record.topic(), record.partition()) for record in records}
    again: Again[Input] = Again(store.journal(), places)
    coming = iter(
        r for r in interleaved(records, chance)
        if r.offset() >= offsets.get((r.topic(), r.partition()), 0)
    )  # fmt: skip
    while again:
        found = again.next(offsets, frozenset())
        if found is None:
            again.held.append(next(coming))
            continue
        entry, batch = found
        stage.step(list(batch), entry.wall_ms, entry.live)
        offsets |= {(topic, number): at for topic, number, at in entry.until}
    return stage


def test_a_checkpoint_holds_what_was_when_it_began(tmp_path: Path) -> None:
    records, written = inputs(7), []
    cut = len(records) // 2
    for later in ([], records[cut:]):
        store = Store(tmp_path / f"with-{len(later)}")
        stage = stage_of(store)
        stage.step(list(records[:cut]), AFTER_MS, live=False)
        under_way = checkpoint_of(stage, store, {})
        stage.step(list(later), AFTER_MS, live=False)
        deque(under_way, maxlen=0)
        written.append({(number, kind): store.rows(number, kind) for number, kind in ROWS})
        store.close()
    assert written[0] == written[1]
    assert all(written[0][0, kind] for kind in ("visitor", "answer", "seen", "held"))


def test_a_batch_waits_for_its_records_but_not_for_those_that_are_gone() -> None:
    entry = Entry(1, 0, True, False, [(EVENTS, 0, 2), (EVENTS, 1, 1)])
    again: Again[Input] = Again([entry], {(EVENTS, 0), (EVENTS, 1)})
    again.held = [Input(EVENTS, 0, 0, b""), Input(EVENTS, 0, 1, b""), Input(EVENTS, 0, 2, b"")]
    assert again.next({}, frozenset()) is None
    found = again.next({}, {(EVENTS, 1)})
    assert found is not None
    assert [record.offset() for record in found[1]] == [0, 1]
    assert [record.offset() for record in again.held] == [2]


def test_a_place_that_is_another_workers_now_is_left_out(tmp_path: Path) -> None:
    entry = Entry(1, 0, True, False, [(EVENTS, 0, 2), (EVENTS, 1, 9)])
    again: Again[Input] = Again([entry], {(EVENTS, 0)})
    assert again.reached({}) == {(EVENTS, 0): 2}
