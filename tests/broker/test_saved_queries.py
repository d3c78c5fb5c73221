"""The saved queries on a real ClickHouse: small cases by hand, and the replay's own judge."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from record_samples import RECORDS, purchase
from tables_factory import DAY_MS, MINUTE_MS, START_MS, Tables, answer, bought

from console.saved import SAVED
from core.replay_judge import Judge
from core.replay_plan import Ask
from core.report import POLICIES, Figures
from schemas import topics
from schemas.events import EventItem, ItemListViewed
from schemas.metrics import Alert

SURFACES = ("home", "discover", "buy_again")


def test_hits_and_recall_follow_the_report_protocol(tables: Tables) -> None:
    at = START_MS + DAY_MS
    tables.put(
        topics.EVENTS_VALID,
        bought("a", "s0", START_MS, "1", "2"),
        bought("a", "s1", at + 1_000, "1", "3", "3"),
        bought("a", "s1", at + 5 * MINUTE_MS, "4"),
        bought("b", "s2", START_MS, "5"),
        bought("b", "s3", at + 1_000, "5"),
        bought("c", None, at + 1_000, "6"),
        bought("c", None, at + DAY_MS + 1, "7"),
    )
    late = [f"x{number}" for number in range(10)]
    answers = [
        answer("r1", "a", at, ["3", "9", "3"], session_id="s1"),
        answer("r1", "a", at, ["1", "4"], session_id="s1", policy="own_items"),
        answer("r2", "a", at, ["1", "8"], session_id="s1", surface="discover"),
        answer("r2", "a", at, ["4"], session_id="s1", surface="discover", policy="own_items"),
        answer("r3", "b", at, ["5"], session_id="s3", surface="discover"),
        answer("r4", "b", at, [*late, "5"], session_id="s3"),
        answer("r5", "c", at, ["7", "6"]),
    ]
    tables.put(topics.PREDICTIONS, *answers, *answers)
    rows = tables.ask("report_hit_rate")
    assert {(r["surface"], r["policy"]): (r["hr10"], r["recall10"], r["n"]) for r in rows} == {
        ("home", "loop"): (round(2 / 3, 4), round((1 / 3 + 0 + 1) / 3, 4), 3),
        ("home", "own_items"): (1.0, round(2 / 3, 4), 1),
        ("discover", "loop"): (0.0, 0.0, 1),
        ("discover", "own_items"): (1.0, 0.5, 1),
    }
    assert tables.ask("report_hit_rate", from_ms=at + 1) == []
    weeks = tables.ask("report_weekly")
    assert {str(row["week"]) for row in weeks} == {"2011-02-28"}
    judged = tables.ask("report_requests")
    assert len(judged) == 6
    assert {r["visitor_id"] for r in judged} == {"a", "b", "c"}
    (pair,) = [row for row in tables.ask("control_vs_loop") if row["surface"] == "home"]
    assert (pair["rival"], pair["n"], pair["hr10_difference"]) == ("own_items", 1, 0.0)


def test_the_saved_queries_agree_with_the_replays_own_judge(tables: Tables) -> None:
    chance = random.Random(11)
    judge, figures = Judge(DAY_MS), Figures(SURFACES)
    items = [str(number) for number in range(40)]
    for number in range(300):
        at = START_MS + number * 3 * 60 * MINUTE_MS
        visitor, session = f"v{chance.randrange(12)}", f"s{number}"
        ids = {surface: f"r{number}{surface}" for surface in SURFACES}
        judge.ask(Ask(visitor, at - 1_000, f"e{number}", session, ids))
        for surface, request_id in ids.items():
            for policy in POLICIES:
                listed = chance.sample(items, 10)
                judge.answer(request_id, policy, listed)
                made = answer(request_id, visitor, at - 1_000, listed, session_id=session)
                changes = {"surface": surface, "policy": policy}
                tables.put(topics.PREDICTIONS, _changed(made, changes))
        for again in range(chance.randrange(1, 3)):
            basket = chance.choices(items, k=chance.randrange(1, 6))
            when = at + again * 5 * MINUTE_MS
            judge.purchase(visitor, session, when, basket)
            tables.put(topics.EVENTS_VALID, bought(visitor, session, when, *basket))
    for request in judge.close(2**60):
        figures.surfaces[request.surface].add(request)
    rows = tables.ask("report_hit_rate")
    for surface, found in figures.surfaces.items():
        expected = {
            policy: (round(row["hr10"], 4), round(row["recall10"], 4), row["n"])
            for policy, row in found.summary().items()
        }
        here = [row for row in rows if row["surface"] == surface]
        assert {r["policy"]: (r["hr10"], r["recall10"], r["n"]) for r in here} == expected
        weekly = [
            (row["week"], row["policy"], round(row["hr10"], 4), row["n"])
            for row in found.weekly(surface)
        ]
        asked = [
            (str(row["week"]), row["policy"], row["hr10"], row["n"])
            for row in tables.ask("report_weekly")
            if row["surface"] == surface
        ]
        assert sorted(asked) == sorted(weekly)
    compared = tables.ask("control_vs_loop")
    theirs = [r for r in figures.surfaces["home"].compare("home", 1) if r["metric"] == "hr10"]
    for row in theirs:
        (ours,) = [r for r in compared if (r["surface"], r["rival"]) == ("home", row["rival"])]
        assert ours["hr10_difference"] == round(row["difference"], 4)
        assert ours["hr10_low"] == pytest.approx(row["low"], abs=0.03)
        assert ours["hr10_high"] == pytest.approx(row["high"], abs=0.03)


def _changed(record: Any, changes: dict[str, Any]) -> Any:
    return msgspec.structs.replace(record, **changes)


def test_every_saved_query_answers_on_one_record_of_each_kind(tables: Tables) -> None:
    for topic, records in RECORDS.items():
        tables.put(topic, *(r for r in records if "watermark" not in type(r).__name__.lower()))
    for path in SAVED.glob("*.sql"):
        tables.ask(path.stem)
    (asked,) = tables.ask("why_retrained")
    assert (asked["retrain_id"], asked["states"]) == ("rt1", ["proposed"])
    accounts = tables.ask("sink_accounting")
    assert {row["stored_twice"] for row in accounts} == {0}
    assert len(accounts) == len(RECORDS)
    (metric,) = tables.ask("metrics_latest")
    assert (metric["value"], metric["n"]) == (0.5, 10)


def test_the_funnel_counts_what_was_credited_and_the_rest_is_unattributed(tables: Tables) -> None:
    credited = EventItem(item_id="1", quantity=2, price=1.5, prediction_id="r1/loop")
    tables.put(topics.PREDICTIONS, answer("r1", "a", START_MS, ["1", "2"]))
    tables.put(
        topics.EVENTS_VALID,
        ItemListViewed(
            event_id="l1",
            event_time_ms=START_MS,
            visitor_id="a",
            prediction_id="r1/loop",
            items=[EventItem(item_id="1"), EventItem(item_id="2")],
        ),
        purchase(event_time_ms=START_MS, items=[credited, EventItem(item_id="3")]),
    )
    (row,) = tables.ask("funnel")
    assert (row["answers"], row["answers_seen"], row["items_seen"]) == (1, 1, 2)
    assert (row["items_bought"], row["revenue"]) == (1, 3.0)
    (week,) = tables.ask("unattributed")
    assert (week["items_bought"], week["unattributed"], week["share"]) == (2, 1, 0.5)


def test_alerts_history_shows_each_alert_once_with_when_it_was_cleared(tables: Tables) -> None:
    raised = Alert(
        alert_id="a",
        name="burst",
        severity="ticket",
        state="raised",
        event_time_ms=START_MS,
        summary="2 visitors",
        evidence={"visitors": 2.0},
        scope="visitors",
        raised_at_ms=START_MS,
    )
    open_still = msgspec.structs.replace(raised, alert_id="b", raised_at_ms=START_MS + 1)
    cleared = msgspec.structs.replace(raised, state="cleared", event_time_ms=START_MS + DAY_MS)
    tables.put(topics.ALERTS, raised, open_still, cleared)
    first, second = tables.ask("alerts_history")
    assert (first["cleared_at"] - first["raised_at"]).total_seconds() == DAY_MS / 1000
    assert (first["name"], first["scope"], first["evidence"]) == (
        "burst",
        "visitors",
        {"visitors": 2.0},
    )
    assert second["cleared_at"] is None
