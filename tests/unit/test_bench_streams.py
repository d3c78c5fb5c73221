"""The measurements of the streams: their made-up traffic, and what they check."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stage_factory import written_down

from bench.streams import PARTS, Bench
from bench.streams_delay import Growth
from bench.streams_join import Statement, compared
from bench.streams_kills import summed
from bench.streams_recompute import differing
from bench.streams_shop import Arrival, Barrier, Traffic, arrivals, with_barriers
from bench.streams_stages import KeyedStage
from bench.streams_tasks import auc_abs_err, exact_auc, judged_lists
from core.event_rules import Limits, check
from core.features import FEATURE_NAMES
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from streams.store import Store

TRAFFIC = Traffic(visits=3_000, visitors=500)


def test_the_same_seed_gives_the_same_traffic_and_another_seed_another() -> None:
    found = list(arrivals(TRAFFIC, answers=True))
    assert found == list(arrivals(TRAFFIC, answers=True))
    assert found != list(arrivals(Traffic(visits=3_000, visitors=500, seed=8), answers=True))


def test_traffic_is_what_the_product_takes_in() -> None:
    decoders = {
        "events": Decoder(topics.EVENTS.record),
        "predictions": Decoder(topics.PREDICTIONS.record),
    }
    for arrival in arrivals(TRAFFIC, answers=True):
        record = decoders[arrival.kind](arrival.value)
        assert record.visitor_id == arrival.visitor_id
        if arrival.kind == "events":
            check(record, None, Limits())


def test_a_visit_is_an_answer_a_list_and_about_five_other_events() -> None:
    found = list(arrivals(TRAFFIC, answers=True))
    kinds = Counter(arrival.kind for arrival in found)
    decode = Decoder(topics.EVENTS.record)
    named = Counter(
        type(decode(each.value)).__name__
        for each in found
        if each.kind == "events" and not each.is_repeat
    )
    assert kinds["predictions"] == named["ItemListViewed"] == TRAFFIC.visits
    assert 3.8 < named["ItemViewed"] / TRAFFIC.visits < 4.2
    assert 0.08 < named["PurchaseMade"] / TRAFFIC.visits < 0.12


def test_some_records_are_late_some_come_twice_and_arrivals_are_in_order() -> None:
    found = list(arrivals(TRAFFIC, answers=False))
    assert [each.at_ms for each in found] == sorted(each.at_ms for each in found)
    decode = Decoder(topics.EVENTS.record)
    records = [decode(each.value) for each in found]
    late = sum(
        each.at_ms - record.event_time_ms > 60_000
        for each, record in zip(found, records, strict=True)
    )
    assert 0.003 < late / len(found) < 0.02
    repeats = len(records) - len({record.event_id for record in records})
    assert repeats == sum(each.is_repeat for each in found) > 0


def test_barriers_rise_and_the_last_one_is_final() -> None:
    found = list(with_barriers(arrivals(TRAFFIC, answers=True), 600_000, TRAFFIC.end_ms))
    barriers = [each for each in found if isinstance(each, Barrier)]
    assert [each.number for each in barriers] == list(range(len(barriers)))
    assert [each.final for each in barriers] == [False] * (len(barriers) - 1) + [True]
    assert barriers[-1].event_time_ms >= max(
        each.at_ms for each in found if isinstance(each, Arrival)
    )


@pytest.mark.parametrize(
    ("finals", "valid", "lost", "twice"),
    [
        (["p", "q"], ["e", "f"], 0, 0),
        (["p"], ["e", "f"], 1, 0),
        (["p", "q"], ["e"], 1, 0),
        (["p", "q", "q"], ["e", "f"], 0, 2),  # a second final is a second statement too
        (["p", "q"], ["e", "f", "f"], 0, 1),
    ],
)
def test_what_is_missing_and_what_is_there_twice_is_counted(
    finals: list[str], valid: list[str], lost: int, twice: int
) -> None:
    said = [Statement(name, "final", 3) for name in finals]
    found = compared(["p", "q", ""], said, ["e", "f", "f", ""], valid)
    assert (found["lost"], found["twice"], found["unknown"]) == (lost, twice, 0)


def test_exact_auc_agrees_with_every_pair_counted() -> None:
    chance = np.random.default_rng(3)
    labels = (chance.random(200) < 0.3).astype(np.float64)
    scores = np.round(chance.random(200), 1)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]]
    assert exact_auc(labels, scores) == pytest.approx(float(np.mean(pairs)), abs=1e-12)


def test_judged_lists_carry_a_label_and_features_per_row() -> None:
    for judged, basket in judged_lists(50, 1):
        assert len(judged.labels) == len(judged.item_ids) + len(judged.considered)
        assert {len(row) for row in judged.features} == {len(FEATURE_NAMES)}
        assert (basket is None) == (not judged.basket)


def test_the_published_auc_is_exact_with_and_without_ties() -> None:
    assert auc_abs_err(streams=4, lists=300) < 1e-9


def test_a_click_counts_as_shown_by_the_first_row_that_counts_as_many() -> None:
    growth = Growth()
    for total, at_s in ((1, 10.0), (1, 11.0), (4, 12.0)):
        growth.saw(total, at_s)
    delays = growth.since([9.5, 11.5, 11.75, 11.9, 12.0])
    assert delays == pytest.approx([500.0, 500.0, 250.0, 100.0, math.inf])


def test_figures_that_are_missing_or_differ_are_counted() -> None:
    assert differing([b"a", b"b"], [b"a", b"b"]) == (2, 0)
    assert differing([b"a"], [b"a", b"b"]) == (1, 1)
    world = {"kills": 3, "lost": 0, "duplicated": 0, "metrics": 5, "metrics_differ": 0}
    assert summed([world, {**world, "metrics_differ": 1}])["metrics_equal"] is False
    assert summed([world, world]) == {
        "kills": 6,
        "lost": 0,
        "duplicated": 0,
        "metrics_equal": True,
        "metrics_compared": 10,
    }


def test_counts_per_visitor_go_on_from_what_was_kept(tmp_path: Path) -> None:
    found = list(arrivals(TRAFFIC, answers=False))[:200]
    store = Store(tmp_path / "store")
    first = KeyedStage(Settings(), "keyed", 200, tmp_path / "report.json")
    first.load(store, [0])
    first.step([_record(each.value) for each in found[:120]], TRAFFIC.end_ms, True)
    written_down(store, first, {})
    again = KeyedStage(Settings(), "keyed", 80, tmp_path / "report.json")
    again.load(store, [0])
    again.step([_record(each.value) for each in found[120:]], TRAFFIC.end_ms, True)
    assert json.loads((tmp_path / "report.json").read_text())["counts"]["events"] == 200
    store.close()


def _record(value: bytes) -> Any:
    return SimpleNamespace(value=lambda: value, partition=lambda: 0)


def test_every_part_that_can_be_asked_for_is_there() -> None:
    assert [name for name in PARTS if not hasattr(Bench, name)] == []
