"""Answers to searches and texts on `predictions` leave the figures of the recommender alone."""

from __future__ import annotations

import msgspec

from core.join import close, step
from core.running import RunningTotals
from core.settings import DAY_MS, Settings
from core.task_stage import TaskStage
from core.verdict import Verdict, judged_of, outcome_of
from core.visitor_facts import Visitor
from schemas.codec import Decoder, encode
from schemas.events import ShopEvent
from schemas.predictions import Label, Prediction, PredictionRecord, Slot
from tests.unit import join_factory as shop
from tests.unit.stage_factory import START_MS, basket, judged, learnable, publish

END_MS = shop.START_MS + shop.DAY_MS + 10


def text(name: str = "t1", at_ms: int = shop.START_MS + 1) -> Prediction:
    """An answer with labels and no slots."""
    bare = shop.answer(name, at_ms, items="", surface="classify")
    return msgspec.structs.replace(bare, task="desk", labels=[Label(label="refund", score=0.9)])


def search(name: str = "s1", at_ms: int = shop.START_MS + 1, items: str = "xy") -> Prediction:
    """An answer to a search whose features are those of its blend."""
    slots = [
        Slot(item_id=item, position=place, score=1.0 / place, features=[0.1, 0.2])
        for place, item in enumerate(items, start=1)
    ]
    bare = shop.answer(name, at_ms, items="", surface="search")
    return msgspec.structs.replace(bare, task="search", slots=slots, query="red cup")


def verdicts(*records: Prediction | ShopEvent) -> list[Verdict]:
    visitor = Visitor()
    for record in records:
        step(visitor, record, shop.WINDOWS, 0)
    return close(visitor, END_MS, shop.WINDOWS).verdicts


def test_the_join_judges_a_list_the_same_beside_texts_and_other_searches() -> None:
    mine = [shop.answer("p1"), shop.purchase("e", shop.START_MS + shop.HOUR_MS)]
    alone = verdicts(*mine)
    beside = verdicts(mine[0], text(), search(), mine[1])
    assert [one for one in beside if one.prediction_id == "p1"] == alone
    final = [one for one in beside if one.age == "final"]
    assert {one.prediction_id: len(one.slots) for one in final} == {"p1": 3, "t1": 0, "s1": 2}


def test_a_purchase_found_by_a_search_is_the_searchs() -> None:
    found = verdicts(
        shop.answer("p1"), search(items="ab"), shop.purchase("e", shop.START_MS + shop.HOUR_MS)
    )
    (final,) = [one for one in found if one.age == "final" and one.prediction_id == "s1"]
    assert (final.slots[0].item_id, final.slots[0].kind) == ("a", "purchase")


def test_a_text_has_an_outcome_without_slots_that_decodes() -> None:
    (final,) = [one for one in verdicts(text()) if one.age == "final"]
    outcome = outcome_of(text(), final)
    assert (outcome.task, outcome.surface, outcome.slots) == ("desk", "classify", [])
    assert judged_of(text(), final).item_ids == []
    again = Decoder(PredictionRecord)(encode(text()))
    assert again == text()


def test_what_runs_counts_the_answers_of_its_own_task_alone() -> None:
    now_ms = shop.START_MS + 1_000
    running = RunningTotals("recommend", DAY_MS, 0)
    for answer in (shop.answer("p1"), text(), search()):
        running.served(answer, now_ms)
    running.arrived(shop.click("c1", now_ms, "a"), now_ms)
    (total,) = running.said(now_ms, lambda _: {})
    assert (total.task, total.surface, total.answers, total.clicked) == ("recommend", "home", 1, 1)


def test_the_stage_passes_over_judged_lists_of_searches_and_texts() -> None:
    said = []
    for others in (False, True):
        stage = TaskStage(Settings(retrain_minimum_labels=10))
        stage.step(publish("v1"))
        stage.close(START_MS, 0)
        for number in range(60):
            stage.step(learnable(number, hit=number % 3 > 0))
            stage.step(basket(number, [f"item-{number % 40}"]))
            if others:
                stage.step(judged(number, surface="search", task="search"))
                stage.step(judged(number, surface="classify", task="desk", item_ids=[], labels=[],
                                  scores=[]))  # fmt: skip
        said.append(stage.close(START_MS + 10 * DAY_MS, 1).records)
    assert said[0] == said[1]
