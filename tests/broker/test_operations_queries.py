"""The operators' saved queries: alarms, decisions, weights, letters, figures and latency."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec.structs import replace
from record_samples import ALARM, GATE, METRIC, RETRAIN, WEIGHTS
from tables_factory import DAY_MS, MINUTE_MS, START_MS, Tables, answer, bought, judged, label

from schemas import topics
from schemas.audit import AdminAction
from schemas.items import Item
from schemas.models import ModelLog
from schemas.predictions import Context, Filters
from schemas.resent import Resent
from streams.sink_refused import DeadLetter

HOUR_MS = 60 * MINUTE_MS


def test_dead_letters_know_whether_they_were_sent_again(tables: Tables) -> None:
    refused = DeadLetter(
        topic="events",
        reason="malformed",
        message="not JSON",
        origin="",
        key=b"",
        value=b"{",
        recorded_at_ms=START_MS,
    )
    letters = topics.refused(topics.EVENTS)
    tables.put(letters, refused, refused)
    note = Resent(
        letter=f"{letters.full_name()}[0]@2",
        topic="events",
        reason="malformed",
        sent_at_ms=START_MS,
    )
    tables.put(topics.RESENT, note, note)
    (row,) = tables.ask("dead_letters_hourly")
    assert (row["records"], row["sent_again"], row["reason"]) == (2, 1, "malformed")


def test_an_alarm_is_followed_to_the_decision(tables: Tables) -> None:
    tables.put(
        topics.DRIFT, ALARM, replace(ALARM, drift_id="d2", status="suppressed", reason="few")
    )
    states = ("proposed", "accepted", "published")
    tables.put(
        topics.RETRAIN,
        *(replace(RETRAIN, state=state, drift_id="d1", model_version="m2") for state in states),
    )
    log = ModelLog(
        log_id="l1",
        task="recommend",
        model_version="m2",
        kind="promoted",
        event_time_ms=ALARM.event_time_ms + 3 * DAY_MS,
        evidence={"n": 200.0, "gain": 0.02},
    )
    swaps = [
        replace(log, log_id=f"s{n}", kind="swapped", process="serving-1", announce_to_swap_ms=ms)
        for n, ms in enumerate((10.0, 30.0, 20.0))
    ]
    tables.put(topics.MODEL_LOG, log, *swaps, replace(log, log_id="g", kind="gate", gate=GATE))
    first, second = tables.ask("drift_actions")
    assert (first["states"], first["decision"]) == (list(states), "promoted")
    assert (first["days_to_decision"], second["reason"]) == (3.0, "few")
    evidence = [(row["measure"], row["value"]) for row in tables.ask("shadow_evidence")]
    assert evidence == [("gain", 0.02), ("n", 200.0)]
    (check,) = tables.ask("gate_checks")
    assert (check["check"], check["passed"], check["value"]) == ("hr", True, 0.7)
    (swap,) = tables.ask("swap_times")
    assert (swap["swaps"], swap["p50_ms"], swap["slowest_ms"]) == (3, 20.0, 30.0)


def test_weights_are_those_at_the_end_of_each_day(tables: Tables) -> None:
    for hours, own in ((0, 0.5), (6, 0.6), (24, 0.9)):
        at = START_MS + hours * HOUR_MS
        tables.put(
            topics.WEIGHTS, replace(WEIGHTS, event_time_ms=at, coef=[own, 0.0], version=str(hours))
        )
    rows = tables.ask("weights_history", feature="own")
    assert [(row["weight"], row["change"]) for row in rows] == [(0.6, 0.0), (0.9, 0.3)]
    assert len(tables.ask("weights_history")) == 4


def test_streamed_and_recomputed_figures_are_compared(tables: Tables) -> None:
    start = START_MS - START_MS % DAY_MS
    window = {"window_start_ms": start, "window_end_ms": start + DAY_MS, "closed": True}
    streamed = replace(METRIC, name="hr10", value=0.5, n=2, revision=1, **window)
    tables.put(topics.METRICS, replace(streamed, value=0.9, revision=0), streamed)
    tables.put(
        topics.OUTCOMES,
        judged("r1", [label("1", 1, "purchase")]),
        judged("r2", [label("1", 1)], basket=["5"]),
        judged("r3", [label("1", 1)]),  # nothing to find
        judged("r4", [label("1", 1)], served_at_ms=start + DAY_MS, basket=["5"]),
    )
    (row,) = tables.ask("metrics_check")
    assert (row["streamed_hr10"], row["computed_hr10"], row["difference"]) == (0.5, 0.5, 0.0)
    assert (row["streamed_n"], row["computed_n"]) == (2, 2)


def test_slow_and_degraded_answers_are_counted_by_hour_and_reason(tables: Tables) -> None:
    answers = [
        answer(f"r{n}", "a", START_MS, ["1"], latency_ms=float(n), degraded=reason)
        for n, reason in enumerate((None, None, "no_model", None))
    ]
    tables.put(topics.PREDICTIONS, *answers)
    (hour,) = tables.ask("latency_hourly")
    assert (hour["answers"], hour["p50_ms"], hour["slowest_ms"]) == (4, 2.0, 3.0)
    (day,) = tables.ask("degraded_daily")
    assert (day["reason"], day["degraded_answers"], day["share"]) == ("no_model", 1, 0.25)


def test_an_action_that_came_twice_is_told_once(tables: Tables) -> None:
    done = AdminAction(
        audit_id="a1",
        event_time_ms=START_MS,
        actor="me",
        action="keys.revoke",
        target="shop (k1)",
        outcome="done",
    )
    begun = replace(done, outcome="unknown")
    tables.put(topics.AUDIT, begun, done, done, replace(begun, audit_id="a2", actor="you"))
    first, second = tables.ask("audit_history")
    assert (first["who"], first["ended"], second["ended"]) == ("me", "done", "unknown")
    assert len(tables.ask("audit_history", who="you", from_ms=START_MS)) == 1


def test_searches_that_found_nothing_name_no_text_of_few_visitors(tables: Tables) -> None:
    def asked(number: int, text: str, listed: list[str], **changes: object) -> object:
        changes = {"surface": "search", "query": text, "latency_ms": float(number), **changes}
        return answer(f"q{number}", f"v{number}", START_MS, listed, **changes)

    narrow = Context(filters=Filters(price_to=3.0), corrected_query="cake stand")
    tables.put(
        topics.PREDICTIONS,
        asked(1, "Unicorn", []),
        asked(2, "unicorn ", [], degraded="no_model"),
        asked(3, "unicorn", ["1"]),
        asked(4, "cake stnad", [], context=narrow),
        asked(5, "mug 30 cl", []),
        answer("r6", "v6", START_MS, []),
    )
    named, rest = tables.ask("searches_without_result", at_least=2)
    assert (named["query"], named["searches"], named["without_result"]) == ("unicorn", 3, 2)
    assert (named["share"], named["visitors"], named["while_degraded"]) == (0.6667, 2, 1)
    assert (rest["query"], rest["texts"], rest["visitors"]) == (None, 2, 2)
    assert (rest["with_filters"], rest["corrected"]) == (1, 1)
    days = tables.ask("searches_daily")
    assert [(day["kind"], day["searches"], day["without_result"]) for day in days] == [
        ("one word", 3, 2),
        ("two words", 1, 1),
        ("with digits", 1, 1),
    ]
    assert [day["p50_ms"] for day in days] == [2.0, 4.0, 5.0]


def test_what_the_runbook_asks_clickhouse_can_be_asked(tables: Tables) -> None:
    page = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text()
    asked = re.findall(r'`shoploop query "([^"]+)"`', page)
    for sql in asked:
        tables.client.query_table(sql)
    assert len(asked) >= 5


def test_latency_is_told_by_surface(tables: Tables) -> None:
    answers = [answer(f"r{n}", "a", START_MS, ["1"], latency_ms=float(n)) for n in range(4)]
    slow = answer("s", "a", START_MS, ["1"], surface="search", latency_ms=90.0)
    tables.put(topics.PREDICTIONS, *answers, slow, replace(slow, policy="control", arm="control"))
    home, search = tables.ask("latency_daily", budget_ms=2.5)
    assert (home["answers"], home["p50_ms"], home["over_budget"]) == (4, 2.0, 1)
    assert (search["surface"], search["p99_ms"], search["over_share"]) == ("search", 90.0, 1.0)


def test_exposure_is_told_by_category_of_the_newest_catalogue(tables: Tables) -> None:
    tables.put(
        topics.ITEMS,
        Item(item_id="1", updated_at_ms=1, category="Old"),
        Item(item_id="1", updated_at_ms=2, category="Home/Kitchen"),
        Item(item_id="2", updated_at_ms=1, category="Home/Light"),
        Item(item_id="3", updated_at_ms=1, category="Garden"),
    )
    tables.put(topics.PREDICTIONS, answer("r1", "a", START_MS, ["1", "2", "1", "9"]))
    tables.put(topics.EVENTS_VALID, bought("a", None, START_MS, "2", "3"))
    rows = {row["category"]: row for row in tables.ask("exposure_by_category")}
    home, garden = rows["Home"], rows["Garden"]
    assert (home["items"], home["items_shown"], home["slots_shown"]) == (2, 2, 3)
    assert (home["share_of_slots"], home["share_of_sales"]) == (0.75, 0.5)
    assert (garden["slots_shown"], garden["share_of_sales"]) == (0, 0.5)
    assert rows[""]["slots_shown"] == 1
    for name in ("exposure", "exposure_by_category"):  # nothing listed, or sold, in the span
        (nothing,) = {
            (row["share_of_slots"], row["share_of_sales"]) for row in tables.ask(name, to_ms=1)
        }
        assert nothing == (None, None)
    deeper = {row["category"] for row in tables.ask("exposure_by_category", depth=2)}
    assert deeper == {"Home/Kitchen", "Home/Light", "Garden", ""}
