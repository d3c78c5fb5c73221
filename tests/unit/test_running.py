"""The age `now`: what has just happened stands in a figure at once, and only in live time."""

from collections.abc import Mapping

import msgspec
import pytest

from core.running import FOLLOWED_MS, FRESH_MS, MOST_FOLLOWED, RunningTotals
from core.running_figures import AT_REST_MS, SOONEST_MS, RunningFigures
from core.settings import DAY_MS, Settings
from core.task_stage import TaskStage
from schemas.events import ShopEvent
from schemas.metrics import Metric
from schemas.outcomes import Running
from schemas.predictions import Prediction
from tests.unit.join_factory import START_MS, answer, cart, click, purchase

NOW_MS = START_MS + 1_000


def _nothing(visitor_id: str) -> Mapping[str, int]:
    assert visitor_id == "v"
    return {}


def _totals(*inputs: Prediction | ShopEvent, wall_ms: int = NOW_MS) -> Running:
    running = RunningTotals("recommend", DAY_MS, 0)
    (total,) = _fed(running, inputs, wall_ms)
    return total


def _fed(
    running: RunningTotals, inputs: tuple[Prediction | ShopEvent, ...], wall_ms: int
) -> list[Running]:
    for each in inputs:
        if isinstance(each, Prediction):
            running.served(each, wall_ms)
        else:
            running.arrived(each, wall_ms)
    return running.said(wall_ms, _nothing)


def test_a_click_counts_once_for_the_answer_it_names_even_when_it_comes_first() -> None:
    total = _totals(
        click("c1", NOW_MS, "a", "p1"),
        click("c2", NOW_MS, "b", "p1"),
        answer("p1"),
        answer("p2"),
    )
    assert (total.answers, total.clicked, total.carted) == (2, 1, 0)


def test_without_a_token_the_newest_answer_that_listed_the_item_is_credited() -> None:
    running = RunningTotals("recommend", DAY_MS, 0)
    shown = (answer("p1", items="ab"), answer("p2", START_MS + 10, items="bc"))
    _fed(running, shown, NOW_MS)
    (total,) = _fed(running, (click("c1", NOW_MS, "b"), cart("k1", NOW_MS, "a")), NOW_MS)
    assert (total.answers, total.clicked, total.carted) == (2, 1, 1)
    assert _fed(running, (click("c2", NOW_MS, "c"),), NOW_MS) == []
    (total,) = _fed(running, (click("c3", NOW_MS, "a"),), NOW_MS)
    assert total.clicked == 2


def test_an_order_judges_every_answer_before_it_and_hits_those_that_listed_its_items() -> None:
    total = _totals(answer("p1", items="ab"), answer("p2", items="cd"), purchase("o", NOW_MS, "a"))
    assert (total.answers, total.judged, total.hits, total.bought) == (2, 2, 1, 1)


def test_an_order_of_another_session_judges_nothing() -> None:
    total = _totals(answer("p1", session="s1"), purchase("o", NOW_MS, session="s2"))
    assert (total.answers, total.judged) == (1, 0)


@pytest.mark.parametrize(("surface", "not_counted"), [("discover", "a"), ("buy_again", "b")])
def test_discover_is_judged_on_new_items_alone_and_buy_again_on_the_others(
    surface: str, not_counted: str
) -> None:
    running = RunningTotals("recommend", DAY_MS, 0)
    running.served(answer("p1", surface=surface), NOW_MS)
    running.arrived(purchase("o", NOW_MS, not_counted), NOW_MS)
    (total,) = running.said(NOW_MS, lambda _: {"a": START_MS - DAY_MS})
    assert (total.judged, total.hits) == (0, 0)
    running.arrived(purchase("o2", NOW_MS, "ab"), NOW_MS)
    (total,) = running.said(NOW_MS, lambda _: {"a": START_MS - DAY_MS})
    assert (total.judged, total.hits) == (1, 1)


@pytest.mark.parametrize(
    "other", [answer(arm="shadow"), answer(policy="control"), answer(at_ms=NOW_MS - FRESH_MS - 1)]
)
def test_what_was_not_shown_or_is_not_fresh_is_left_to_the_label_ages(other: Prediction) -> None:
    running = RunningTotals("recommend", DAY_MS, 0)
    assert _fed(running, (other, click("c", NOW_MS, "a", "p1")), NOW_MS) == []


def test_a_repeated_answer_and_an_old_event_change_nothing() -> None:
    running = RunningTotals("recommend", DAY_MS, 0)
    _fed(running, (answer("p1"),), NOW_MS)
    assert _fed(running, (answer("p1"),), NOW_MS) == []
    late_ms = START_MS + FRESH_MS + 2_000
    assert _fed(running, (click("c", START_MS + 1, "a", "p1"),), late_ms) == []


def test_answers_are_followed_for_half_an_hour_and_never_more_than_so_many() -> None:
    running = RunningTotals("recommend", DAY_MS, 0)
    _fed(running, (answer("p1"),), NOW_MS)
    later_ms = START_MS + FOLLOWED_MS + 1
    running.said(later_ms, _nothing)
    assert _fed(running, (click("c", later_ms, "a"),), later_ms) == []
    many = tuple(answer(f"q{i}", later_ms - 1) for i in range(MOST_FOLLOWED + 5))
    _fed(running, many, later_ms)
    gone = _fed(running, (click("c2", later_ms, "a", "q0"),), later_ms)
    assert gone == []
    (total,) = _fed(running, (click("c3", later_ms, "a", "q5"),), later_ms)
    assert total.clicked == 1


def test_totals_go_on_after_a_restart_with_a_greater_sequence() -> None:
    running = RunningTotals("recommend", DAY_MS, 3)
    (first,) = _fed(running, (answer("p1"), click("c", NOW_MS, "a", "p1")), NOW_MS)
    again = RunningTotals("recommend", DAY_MS, 3, running.save())
    (second,) = _fed(again, (answer("p2"),), NOW_MS)
    assert (second.answers, second.clicked, second.partition) == (2, 1, 3)
    assert second.sequence > first.sequence
    lost = RunningTotals("recommend", DAY_MS, 3)
    (third,) = _fed(lost, (answer("p3", NOW_MS),), NOW_MS + 5_000)
    assert third.sequence > second.sequence


def _running(partition: int = 0, sequence: int = 1, **counts: int) -> Running:
    return Running(
        task="recommend",
        surface="home",
        policy="loop",
        model_version="v1",
        arm="champion",
        window_start_ms=START_MS - START_MS % DAY_MS,
        partition=partition,
        sequence=sequence,
        **{"answers": 10, **counts},
    )


def _by_name(said: list[Metric]) -> dict[str, Metric]:
    return {metric.name: metric for metric in said}


def test_a_click_is_said_at_once_and_answers_alone_after_five_seconds() -> None:
    figures = RunningFigures("recommend", DAY_MS)
    figures.step(_running(clicked=1))
    said = _by_name(figures.say(NOW_MS))
    assert (said["ctr"].value, said["ctr"].n, said["ctr"].age) == (0.1, 10, "now")
    assert set(said) == {"ctr", "cart_rate", "purchase_rate"}
    figures.step(_running(sequence=2, answers=20, clicked=2))
    assert figures.say(NOW_MS + SOONEST_MS - 1) == []
    said = _by_name(figures.say(NOW_MS + SOONEST_MS))
    assert set(said) == {"ctr"}
    figures.step(_running(sequence=3, answers=30, clicked=2))
    assert figures.say(NOW_MS + 2 * SOONEST_MS) == []
    rest = _by_name(figures.say(NOW_MS + SOONEST_MS + AT_REST_MS))
    assert {name: metric.n for name, metric in rest.items()} == {
        "ctr": 30,
        "cart_rate": 30,
        "purchase_rate": 30,
    }
    assert figures.say(NOW_MS + DAY_MS) == []


def test_partitions_add_up_and_an_older_total_does_not_come_back() -> None:
    figures = RunningFigures("recommend", DAY_MS)
    figures.step(_running(0, 5, judged=4, hits=1))
    figures.step(_running(1, 7, judged=6, hits=4))
    figures.step(_running(0, 4, judged=9, hits=9))
    metric = _by_name(figures.say(NOW_MS))["hr10"]
    assert (metric.value, metric.n, metric.revision, metric.closed) == (0.5, 10, 12, False)


def test_two_windows_are_kept() -> None:
    figures = RunningFigures("recommend", DAY_MS)
    for day in range(4):
        total = msgspec.structs.replace(
            _running(clicked=1), window_start_ms=day * DAY_MS, sequence=1
        )
        figures.step(total)
        figures.say(day * DAY_MS)
    assert [total.window_start_ms // DAY_MS for total in figures.save()] == [2, 3]


def test_the_stage_keeps_totals_and_says_them_once() -> None:
    stage = TaskStage(Settings())
    stage.step(_running(clicked=1))
    assert stage.close(0, 0).records == []
    assert stage.said_now(NOW_MS)
    again = TaskStage.from_bytes(Settings(), stage.to_bytes())
    assert again.to_bytes() == stage.to_bytes()
    assert again.said_now(NOW_MS + DAY_MS) == []
    again.step(_running(sequence=2, clicked=2))
    assert _by_name(again.said_now(NOW_MS))["ctr"].value == 0.2
