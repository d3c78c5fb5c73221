"""Served slots teach: chance draws by inverse propensity, slots passed over, labels put right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shop_factory import shop_data

from core.sequence import SequenceVocabulary
from core.settings import Settings
from trainer.recommend.data import (
    ExploredSlot,
    Lesson,
    LessonKind,
    training_sessions,
    vocabulary_of,
)
from trainer.recommend.export import graph_bytes
from trainer.recommend.fit import Also, Recipe, SequenceModel, fit
from trainer.recommend.lessons import Lessons, explored_lessons, served_lessons, taught
from trainer.recommend.model import Shape
from trainer.recommend.recipes import WARM, as_parameters, with_settings

DATA = shop_data(20)
ITEMS, TITLES = vocabulary_of(DATA)
VOCABULARY = SequenceVocabulary(ITEMS)
RECIPE = Recipe(shape=Shape(width=16), epochs=3)
HISTORY, ITEM = ("0001", "0002"), "5003"


def fitted(recipe: Recipe, lessons: list[Lesson]) -> SequenceModel:
    sessions = training_sessions(DATA.interactions)
    return fit(sessions, VOCABULARY, TITLES, recipe, also=Also(lessons=lessons))


def chance(model: SequenceModel) -> float:
    return float(model.log_probs([HISTORY])[0][VOCABULARY.index[ITEM]])


def lesson(kind: LessonKind, good: bool, weight: float = 1.0, item: str = ITEM) -> Lesson:
    return Lesson(kind, 1, HISTORY, item, good, weight)


@pytest.fixture(scope="module")
def plain() -> SequenceModel:
    return fitted(RECIPE, [])


@pytest.mark.parametrize(
    ("kind", "good"), [("explored", True), ("corrected", True), ("corrected", False)]
)
def test_a_lesson_moves_its_item_the_right_way(
    plain: SequenceModel, kind: LessonKind, good: bool
) -> None:
    weights = Lessons(**{kind: 50.0})
    moved = chance(fitted(replace(RECIPE, lessons=weights), [lesson(kind, good)])) - chance(plain)
    assert moved > 0.1 if good else moved < -0.01


def test_lessons_of_no_weight_change_no_byte(plain: SequenceModel) -> None:
    told = fitted(RECIPE, [lesson("explored", True), lesson("passed", False)])
    assert graph_bytes(told) == graph_bytes(plain)


def test_explored_slots_weigh_as_a_self_normalised_clipped_estimate() -> None:
    slots = [
        ExploredSlot(1, "v", "home", HISTORY, "0003", 0.5, True, 9),
        ExploredSlot(1, "v", "home", HISTORY, "0004", 0.001, True),
        ExploredSlot(1, "v", "home", HISTORY, "0005", 0.1, False),
    ]
    lessons = explored_lessons(slots)
    assert [one.weight for one in lessons] == [2.0, 20.0, 10.0]
    assert [one.at_ms for one in lessons] == [9, 1, 1]
    told = taught(lessons, VOCABULARY, Lessons(explored=1.0))
    assert told is not None
    assert told.good.all()
    assert np.allclose(told.weight / len(told.weight), [2 / 32, 20 / 32])  # the third sold nothing


def test_kinds_of_lessons_do_not_share_their_weight() -> None:
    many = [lesson("passed", False)] * 9 + [lesson("corrected", True)]
    told = taught(many, VOCABULARY, Lessons(passed=1.0, corrected=2.0))
    assert told is not None
    sums = [float(told.weight[told.good == good].sum()) / 10 for good in (False, True)]
    assert np.allclose(sums, [1.0, 2.0])


def test_an_unknown_item_and_a_kind_of_no_weight_teach_nothing() -> None:
    found = [lesson("passed", False, item="nowhere"), lesson("corrected", True)]
    assert taught(found, VOCABULARY, Lessons(passed=1.0)) is None


def test_an_answer_teaches_what_was_passed_over_and_what_was_put_right() -> None:
    row = {
        "item_ids": ["a", "b", "c", "d"],
        "states": ["expired_negative", "retracted", "corrected", "expired_negative"],
        "kinds": ["", "purchase", "purchase", ""],
        "propensities": [1.0, 1.0, 1.0, 1.0],
        "history": ["h"],
        "closed_at_ms": 5,
    }
    found = [(one.kind, one.item_id, one.good) for one in served_lessons(row)]
    assert found == [("corrected", "b", False), ("corrected", "c", True), ("passed", "a", False)]


def test_an_operator_switches_lessons_on_and_a_manifest_says_so() -> None:
    recipe = with_settings(WARM, Settings(learn_passed=0.5))
    assert as_parameters("fit", recipe)["fit.learn_passed"] == 0.5
    assert with_settings(WARM, Settings()).lessons.is_off
