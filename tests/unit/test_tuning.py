"""A study begins at the champion, prunes, repeats by its seed, and prefers nobody by luck."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from shop_factory import shop_data

from trainer.recommend.fit import Recipe
from trainer.tune.recommend import as_parameters, as_recipe, tuned_recipe
from trainer.tune.settings import TuneSettings
from trainer.tune.study import Budget, Knob, Parameters, Tuned, tune

KNOBS = (Knob(name="x", low=0.0, high=1.0), Knob(name="size", choices=(1, 2)))
NOISE = np.random.default_rng(3).normal(0, 1, 400)


def _study(gain: float, trials: int = 12, seed: int = 5) -> tuple[Tuned, list[Parameters]]:
    asked: list[Parameters] = []

    def folds(parameters: Parameters) -> Iterator[NDArray[np.float64]]:
        asked.append(parameters)
        for _ in range(3):
            yield NOISE - gain * (float(parameters["x"]) - 0.5) ** 2

    budget = Budget(trials=trials, within_s=3_600.0)
    return tune(KNOBS, {"x": 3.0, "size": 4}, folds, budget, seed, "test"), asked


def test_the_champion_is_trial_zero_even_outside_the_ranges() -> None:
    found, asked = _study(1.0)
    assert asked[0] == {"x": 3.0, "size": 4}
    assert found.trials[0].parameters == {"x": 3.0, "size": 4}


def test_a_surely_better_trial_wins() -> None:
    found, _ = _study(1.0)
    assert found.won > 0
    assert abs(float(found.parameters["x"]) - 0.5) < 2.5


def test_a_trial_within_the_champions_interval_does_not_win() -> None:
    found, _ = _study(0.001)
    best = max(trial.score for trial in found.trials if trial.score is not None)
    assert found.champion_score < best < found.champion_high
    assert (found.won, found.parameters) == (0, {"x": 3.0, "size": 4})


def test_bad_trials_are_pruned_and_the_seed_repeats_the_study() -> None:
    found, _ = _study(1.0, trials=20)
    assert {trial.state for trial in found.trials} == {"complete", "pruned"}
    assert min(len(t.folds) for t in found.trials if t.state == "pruned") < 3
    assert _study(1.0, trials=20)[0] == found
    assert _study(1.0, trials=20, seed=6)[0] != found


def test_a_recipe_is_tuned_on_the_last_weeks_from_the_champions() -> None:
    champion = Recipe(epochs=1, batch_rows=64)
    settings = TuneSettings(trials=2, within_s=3_600.0, folds=2)
    recipe, study = tuned_recipe(shop_data(40), champion, settings, "asked for")
    assert study.trials[0].parameters == pytest.approx(as_parameters(champion))
    assert len(study.trials[0].folds) == 2
    assert recipe == as_recipe(champion, study.parameters)
