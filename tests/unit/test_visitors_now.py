"""What the visitor stage says before event time is closed, and what it could not place."""

from pathlib import Path

import msgspec
import pytest
from join_factory import HOUR_MS, START_MS, answer, click, purchase
from stage_factory import written_down
from test_streams_again import ANSWERS, EVENTS, Input, inputs

from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.outcomes import BasketSeen, JoinCounts, JudgedBatch, Running, SlotRecord
from streams.store import Changes, Store
from streams.visitors import VisitorStage

_decode = msgspec.json.Decoder(SlotRecord).decode


def _slots(made: Changes) -> list[object]:
    records = [_decode(out.value or b"") for out in made.outs if "slots" in out.topic]
    return [e for r in records for e in (r.entries if isinstance(r, JudgedBatch) else [r])]


def _stage(path: Path) -> tuple[VisitorStage, Store]:
    stage, store = VisitorStage(Settings()), Store(path)
    stage.load(store, list(range(topics.VISITOR_PARTITIONS)))
    return stage, store


def test_a_click_is_counted_in_the_batch_that_brings_it(tmp_path: Path) -> None:
    stage, store = _stage(tmp_path / "s")
    now_ms = START_MS + 10_000
    shown = Input(ANSWERS, 0, 0, encode(answer("p1", now_ms - 100)))
    clicked = Input(EVENTS, 0, 0, encode(click("c1", now_ms, "a", "p1")))
    made = stage.step([clicked, shown], now_ms, live=True)
    (total,) = [each for each in _slots(made) if isinstance(each, Running)]
    assert (total.answers, total.clicked, total.partition) == (1, 1, 0)
    written_down(store, stage, {})
    stage.load(store, [0])
    bought = Input(ANSWERS, 0, 1, encode(answer("p2", now_ms)))
    made = stage.step([bought], now_ms + 100, live=True)
    (total,) = [each for each in _slots(made) if isinstance(each, Running)]
    assert (total.answers, total.clicked) == (2, 1)
    store.close()


@pytest.mark.parametrize("topic", [EVENTS, ANSWERS])
def test_what_is_stepped_again_moves_event_time_no_further_than_it_did(
    tmp_path: Path, topic: str
) -> None:
    year_ms = START_MS + 365 * 24 * HOUR_MS
    value = encode(click("c1", year_ms, "a", "p1") if topic == EVENTS else answer("p1", year_ms))
    records = [
        Input(topic, 0, 0, value),
        Input(EVENTS, 0, 1, encode(click("c2", START_MS, "a", "p2"))),
        Input(ANSWERS, 0, 1, encode(answer("p2", START_MS))),
    ]
    closed = []
    for name, live in (("kept", True), ("lost", False)):
        stage, store = _stage(tmp_path / name)
        stage.step(records, START_MS + 1_000, live=live)
        stage.step([], START_MS + HOUR_MS, live=True)
        closed.append(stage.closed()[0])
        store.close()
    assert closed[0] == closed[1] < START_MS + 2 * HOUR_MS


@pytest.mark.parametrize("live", [False, True])
def test_a_replay_says_nothing_before_its_barriers(tmp_path: Path, live: bool) -> None:
    stage, store = _stage(tmp_path / "s")
    made = stage.step(list(inputs(3)), START_MS + HOUR_MS, live=False)
    assert not [each for each in _slots(made) if isinstance(each, Running)]
    late = Input(ANSWERS, 0, 99, encode(answer("p9", START_MS)))
    wall_ms = START_MS if not live else START_MS + 10 * HOUR_MS
    made = stage.step([late], wall_ms, live=live)
    assert not [each for each in _slots(made) if isinstance(each, Running)]
    store.close()


def test_orders_say_what_no_answer_had_shown_and_lost_events_are_counted(tmp_path: Path) -> None:
    stage, store = _stage(tmp_path / "s")
    records = [
        Input(ANSWERS, 0, 0, encode(answer("p1", START_MS, "ab"))),
        Input(EVENTS, 0, 0, encode(purchase("o1", START_MS + 1_000, "axy"))),
        Input(EVENTS, 0, 1, encode(click("c1", START_MS + 2_000, "a", "never"))),
    ]
    stage.step(records, START_MS + 2_000, live=True)
    said = _slots(stage.step([], START_MS + HOUR_MS, live=True))
    (order,) = [each for each in said if isinstance(each, BasketSeen)]
    assert (order.unattributed, len(order.item_ids)) == (2, 3)
    (counts,) = [each for each in said if isinstance(each, JoinCounts)]
    assert (counts.orphans, counts.late_answers) == (1, 0)
    store.close()
