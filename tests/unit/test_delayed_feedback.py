"""Learning early: unbiased by weights, ahead of waiting when wants turn, off unless asked for."""

import random

import msgspec
import numpy as np
import pytest

from bench.delayed import compare, stream
from core.delayed_feedback import negative_weights
from core.online_learning import OnlineLearning
from core.settings import DAY_MS, HOUR_MS, Settings
from core.task_stage import TaskStage
from core.verdict import Verdict, judged_of
from schemas.models import Weights
from schemas.outcomes import JudgedList
from tests.unit.join_factory import answer
from tests.unit.stage_factory import START_MS, learnable, publish, weights

EARLY = Settings(learning_age="1h")


def _pair(number: int, early_hit: bool, hit: bool) -> list[JudgedList]:
    served_ms = START_MS + number * HOUR_MS
    return [
        learnable(
            number,
            hit=early_hit,
            age="1h",
            judged_id=f"1h/{number}",
            closed_at_ms=served_ms + HOUR_MS,
        ),
        learnable(number, hit=hit),
    ]


def _learning(settings: Settings) -> OnlineLearning:
    learning = OnlineLearning(settings)
    learning.start("v1", [weights("v1", "home")], START_MS)
    return learning


def _published(learning: OnlineLearning) -> Weights:
    (made,) = learning.close(START_MS + 9 * DAY_MS)
    return made


def test_the_expected_gradient_of_early_labels_is_that_of_final_ones() -> None:
    for chance in (0.02, 0.3, 0.9):
        for known in (0.0, 0.2, 1.0):
            weight = float(negative_weights(np.array([chance]), known)[0])
            late = 1 - known
            for said in (0.1, 0.5):
                positive, negative = said - 1, said
                early = known * chance * positive + (1 - known * chance) * weight * negative
                assert early + late * chance * positive == pytest.approx(said - chance)


def test_early_weighted_learning_beats_waiting_when_wants_turn_and_loses_nothing_at_rest() -> None:
    turning = compare(list(stream(14, 10, 1, turn_days=7, delay_hours=2)))
    assert turning["early_weighted"] < 0.9 * turning["waiting"]
    resting = compare(list(stream(14, 10, 1, turn_days=1e9, delay_hours=6)))
    assert resting["early_weighted"] == pytest.approx(resting["waiting"], rel=0.03)
    assert resting["early_as_final"] > 1.2 * resting["waiting"]


def test_what_a_rule_pinned_teaches_nothing_and_the_rest_of_the_list_what_it_would() -> None:
    with_pin, without = _learning(Settings()), _learning(Settings())
    for number in range(20):
        one = learnable(number, hit=number % 2 == 0)
        without.learn(one)
        pinned = msgspec.structs.replace(
            one,
            item_ids=["pinned", *one.item_ids],
            labels=[1, *one.labels],
            features=[[], *one.features],
            propensities=[0.01, *one.propensities] if one.propensities else [],
        )
        with_pin.learn(pinned)
    assert _published(with_pin) == _published(without)


def test_by_default_early_labels_are_left_alone() -> None:
    learning, waiting = _learning(Settings()), _learning(Settings())
    for number in range(20):
        for one in _pair(number, False, number % 2 == 0):
            learning.learn(one, 0.5)
            if one.age == "final":
                waiting.learn(one)
    assert _published(learning) == _published(waiting)


def test_what_turns_positive_later_is_learned_again_and_what_was_known_is_not() -> None:
    known, turned = _learning(EARLY), _learning(EARLY)
    for one in _pair(0, True, True):
        known.learn(one, 0.5)
    for one in _pair(0, False, True):
        turned.learn(one, 0.5)
    assert (known.state.early, turned.state.early) == ({}, {})
    assert _published(known).lists == _published(turned).lists == 1
    assert turned.save().surfaces["home"].ranker["steps"] == 2
    assert known.save().surfaces["home"].ranker["steps"] == 1


def test_with_a_window_shorter_than_the_age_labels_are_final_at_once() -> None:
    learning = _learning(Settings(learning_age="1h", purchase_window_ms=HOUR_MS))
    for one in _pair(0, False, True):
        learning.learn(one, 0.5)
    assert _published(learning).label_age == "final"
    assert learning.save().surfaces["home"].ranker["steps"] == 1


def test_weights_say_where_they_come_from() -> None:
    learning = _learning(Settings())
    for number in (3, 1, 2):
        learning.learn(learnable(number))
    made = _published(learning)
    assert (made.started_from, made.lists, made.label_age) == ("v1-home", 3, "final")
    assert made.data_from_ms == START_MS + HOUR_MS
    assert made.data_until_ms == START_MS + 3 * HOUR_MS
    (again,) = learning.start("v2", [weights("v2", "home")], START_MS + DAY_MS)
    assert (again.started_from, again.lists, again.data_from_ms) == ("v2-home", 0, None)


def test_an_explored_row_weighs_one_over_its_propensity() -> None:
    plain, explored = _learning(Settings()), _learning(Settings())
    plain.learn(learnable(0))
    explored.learn(learnable(0, propensities=[1.0] * 9 + [0.2]))
    assert _published(plain).examples == 10
    assert _published(explored).examples == 14


def test_features_travel_at_the_age_that_is_learned_at() -> None:
    shown = answer()
    early = Verdict("p1", slots=[], basket=[], new_basket=[], age="1h")
    assert judged_of(shown, early).features == []
    assert len(judged_of(shown, early, learned=EARLY.learned_ages).features) == 3
    assert judged_of(shown, early, learned=Settings().learned_ages).features == []


def test_a_stage_that_learns_early_goes_on_exactly_and_in_any_order() -> None:
    whole, restarted = (TaskStage(EARLY) for _ in range(2))
    for stage in (whole, restarted):
        stage.step(publish("v1"))
        stage.close(START_MS, 0)
    drawn = random.Random(3)
    pairs = [one for number in range(96) for one in _pair(number, number % 9 == 0, number % 3 == 0)]
    for day in range(7):
        at_ms = START_MS + day * DAY_MS
        due = [one for one in pairs if at_ms - DAY_MS < one.closed_at_ms <= at_ms]
        for one in due:
            whole.step(one)
        drawn.shuffle(due)
        for one in due:
            restarted.step(one)
        restarted = TaskStage.from_bytes(EARLY, restarted.to_bytes())
        assert restarted.close(at_ms, 0) == whole.close(at_ms, 0)
        assert restarted.to_bytes() == whole.to_bytes()
    assert any(surface.lists == 96 for surface in whole._learning.state.surfaces.values())


def test_a_surface_without_weights_begins_at_those_of_home() -> None:
    learning = OnlineLearning(Settings())
    home = weights("v1", "home")
    learning.start("v1", [home], START_MS)
    learning.learn(learnable(2, surface="buy_again"))
    (made,) = learning.close(START_MS + 9 * DAY_MS)
    assert made.surface == "buy_again"
    assert np.abs(np.array(made.coef) - np.array(home.coef)).max() < 0.2
