"""A new recipe is judged beside the usual one on the same window, and a card counts what it saw."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from shop_factory import shop_data

from adapters.artefacts import ArtefactStore
from adapters.signing import load_or_create
from core.settings import Settings
from schemas.models import GateCheck, Retrain
from trainer.recommend.card import card_of
from trainer.recommend.fit import Recipe
from trainer.recommend.holdout import holdout
from trainer.recommend.pipeline import Pipeline, Tools
from trainer.recommend.recipes import WARM
from trainer.stages import Stages
from trainer.version import Made

SETTINGS = Settings()
REFIT_CHECK = "discover_log_prob_vs_champion_refit"


class Shop:
    """Versions of one shop, each trained with a recipe of its own."""

    def __init__(self, folder: Path) -> None:
        self._tools = Tools(
            SETTINGS, ArtefactStore((folder / "artefacts").as_uri()), load_or_create(folder)
        )

    def train(self, days: int, parent: str | None = None, recipe: Recipe | None = None) -> Made:
        data = shop_data(days)
        retrain = Retrain(
            retrain_id=f"r{days}",
            task="recommend",
            state="accepted",
            kind="manual",
            reason="test",
            event_time_ms=data.until_ms,
            data_until_ms=data.until_ms,
            parent_version=parent,
        )
        pipeline = Pipeline(replace(self._tools, recipe=recipe))
        return pipeline.run(pipeline.job(retrain, data, {}), Stages("test", show=False))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="module")
def first(shop: Shop) -> Made:
    return shop.train(50)


def check_of(made: Made, name: str) -> GateCheck:
    return next(check for check in made.gate.checks if check.name == name)


def test_a_first_version_is_compared_with_what_customers_buy_again(first: Made) -> None:
    assert check_of(first, "home_answer_vs_own_items").n > 0


def test_with_the_usual_recipe_the_candidate_is_the_champion_re_fit(
    shop: Shop, first: Made
) -> None:
    check = check_of(shop.train(64, first.manifest.version), REFIT_CHECK)
    assert check.passed
    assert check.n == 0
    assert check.detail == "the candidate is the champion re-fit by its own recipe"


def test_a_recipe_that_learns_nothing_loses_to_the_usual_one_on_the_same_window(
    shop: Shop, first: Made
) -> None:
    worse = replace(WARM, epochs=1, learning_rate=0.1)
    made = shop.train(64, first.manifest.version, worse)
    check = check_of(made, REFIT_CHECK)
    assert check.n > 0
    assert not check.passed
    assert made.manifest.parameters["fit.learning_rate"] == 0.1


def test_a_card_counts_cancellations() -> None:
    data = replace(shop_data(30), not_learned={"refund": 3})
    after_ms, requests = holdout(data.interactions, data.until_ms, 7)
    assert card_of(data, requests, after_ms)["not_learned.refund"] == 3
