"""What visitor partitions say of their traffic, however topics interleave and workers die."""

import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from join_factory import AFTER_MS

from core.settings import Settings
from core.task_stage import TaskStage
from schemas import topics
from schemas.codec import Decoder, encode
from schemas.events import EventItem, EventWatermark, ItemViewed
from schemas.metrics import Alert
from schemas.outcomes import JudgedBatch, TrafficSeen
from schemas.watermarks import Watermark
from streams.store import Store
from streams.visitors import VisitorStage
from tests.unit.test_streams_again import (
    EVENTS,
    Input,
    inputs,
    interleaved,
    whole_and_killed,
)

PREDICTIONS = topics.PREDICTIONS.full_name()
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
_slots = Decoder(topics.SLOTS.record)


def traffic_of(outs: list[object]) -> list[TrafficSeen]:
    found: list[TrafficSeen] = []
    for out in outs:
        if "slots" in out.topic:  # type: ignore[attr-defined]
            said = _slots(out.value)  # type: ignore[attr-defined]
            entries = said.entries if isinstance(said, JudgedBatch) else [said]
            found += [each for each in entries if isinstance(each, TrafficSeen)]
    return sorted(found, key=lambda seen: (seen.partition, seen.event_time_ms, seen.traffic_id))


def stage_of(store: Store, **changes: object) -> VisitorStage:
    stage = VisitorStage(msgspec.structs.replace(Settings(), **changes))
    stage.load(store, list(range(topics.VISITOR_PARTITIONS)))
    return stage


def with_dirt(records: list[Input], seed: int) -> list[Input]:
    """The same records with some between them that are refused."""
    chance, dirty, following = random.Random(seed), list[Input](), Counter[tuple[str, int]]()
    for record in records:
        place = (record.topic(), record.partition())
        if chance.random() < 0.1:
            dirty.append(Input(*place, following[place], b"{"))
            following[place] += 1
        dirty.append(Input(*place, following[place], record.value()))
        following[place] += 1
    return dirty


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=20)
def test_traffic_is_the_same_however_topics_interleave(
    tmp_path_factory: pytest.TempPathFactory, seed: int, mix: int
) -> None:
    records, results = with_dirt(inputs(seed), seed), []
    for some in (records, interleaved(records, random.Random(mix))):
        store = Store(tmp_path_factory.mktemp("a") / "s")
        results.append(traffic_of(stage_of(store).step(some, AFTER_MS, live=False).outs))
        store.close()
    assert results[0]
    assert results[0] == results[1]
    refused = sum(hour.refused for seen in results[0] for hour in seen.hours)
    assert refused <= sum(record.value() == b"{" for record in records)  # the last hour is open


@given(st.integers(0, 10_000), st.integers(0, 10_000))
@settings(max_examples=20)
def test_a_killed_worker_counts_nothing_twice(
    tmp_path_factory: pytest.TempPathFactory, seed: int, mix: int
) -> None:
    records = with_dirt(inputs(seed), seed)
    whole, cut = whole_and_killed(tmp_path_factory, records, random.Random(mix))
    assert hours_of(traffic_of(cut)) == hours_of(traffic_of(whole))


def hours_of(said: list[TrafficSeen]) -> list[tuple[int, object]]:
    return [(seen.partition, hour) for seen in said for hour in seen.hours]


def view(event_id: str, at_ms: int, visitor_id: str) -> ItemViewed:
    items = [EventItem(item_id="i")]
    return ItemViewed(event_id=event_id, event_time_ms=at_ms, visitor_id=visitor_id, items=items)


def test_a_visitor_who_is_too_fast_is_named_once_a_minute(tmp_path: Path) -> None:
    records: list[Input] = []
    for number in range(400):
        visitor_id = "fast" if number % 4 else f"v{number}"
        event = view(f"e{number}", HOUR_MS + number * 150, visitor_id)
        records.append(Input(EVENTS, 0, number, encode(event)))
    mark = EventWatermark(event_time_ms=2 * HOUR_MS, barrier=1, run_id="run")
    records.append(Input(EVENTS, 0, 400, encode(mark)))
    mark_too = Watermark(event_time_ms=2 * HOUR_MS, barrier=1, run_id="run")
    records.append(Input(PREDICTIONS, 0, 0, encode(mark_too)))
    store = Store(tmp_path / "s")
    (seen,) = traffic_of(stage_of(store, burst_events=200).step(records, AFTER_MS, live=False).outs)
    assert seen.bursts == {"fast": 300}
    assert [(hour.hour, hour.events) for hour in seen.hours] == [(1, 400)]
    store.close()


def test_a_burst_in_the_visitor_stage_is_an_alert_of_the_task_stage(tmp_path: Path) -> None:
    changed = msgspec.structs.replace(Settings(), burst_events=50)
    store, tasks = Store(tmp_path / "s"), TaskStage(changed)
    records = [
        Input(EVENTS, 0, number, encode(view(f"e{number}", HOUR_MS + number * 100, "fast")))
        for number in range(60)
    ]
    until_ms = HOUR_MS + MINUTE_MS
    mark = EventWatermark(event_time_ms=until_ms, barrier=1, run_id="run")
    mark_too = Watermark(event_time_ms=until_ms, barrier=1, run_id="run")
    records.append(Input(EVENTS, 0, 60, encode(mark)))
    records.append(Input(PREDICTIONS, 0, 0, encode(mark_too)))
    for seen in traffic_of(
        stage_of(store, burst_events=50).step(records, AFTER_MS, live=False).outs
    ):
        tasks.step(seen)
    outputs = tasks.close(until_ms, 0)
    (alert,) = [each for _, _, each in outputs.records if isinstance(each, Alert)]
    assert (alert.name, alert.state, alert.evidence["events_a_minute"]) == ("burst", "raised", 60.0)
    store.close()


def test_what_a_final_mark_flushes_is_no_empty_time(tmp_path: Path) -> None:
    records = [Input(EVENTS, 0, 0, encode(view("e0", HOUR_MS, "v")))]
    records.append(Input(EVENTS, 0, 1, encode(view("e1", 2 * HOUR_MS + 5, "v"))))
    end = {"event_time_ms": 80 * HOUR_MS, "barrier": 1, "run_id": "run", "final": True}
    records.append(Input(EVENTS, 0, 2, encode(EventWatermark(**end))))  # type: ignore[arg-type]
    records.append(Input(PREDICTIONS, 0, 0, encode(Watermark(**end))))  # type: ignore[arg-type]
    store = Store(tmp_path / "s")
    stage = stage_of(store)
    (seen,) = traffic_of(stage.step(records, AFTER_MS, live=False).outs)
    assert seen.until_hour == 2
    assert traffic_of(stage.step([], AFTER_MS, live=False).outs) == []
    store.close()
