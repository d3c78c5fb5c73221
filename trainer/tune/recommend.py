"""The recommender's recipe searched: architecture, size and schedule, judged by held-out sales.

A fold fits on everything before a week and asks for the log-probability of what returning customers
newly bought in it; folds are the last weeks, the oldest first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.sequence import SequenceVocabulary
from core.surfaces import DISCOVER
from schemas.errors import RejectedModel
from trainer.recommend.data import ShopData, training_sessions, vocabulary_of
from trainer.recommend.evaluate import log_probs
from trainer.recommend.fit import Recipe, fit
from trainer.recommend.holdout import DAY_MS, HeldOut, held_out
from trainer.recommend.model import Shape
from trainer.recommend.parent import scorer_of
from trainer.tune.settings import TuneSettings
from trainer.tune.study import Budget, Knob, Parameters, Tuned, tune

FOLD_MS = 7 * DAY_MS
KNOBS = (
    Knob(name="epochs", low=2, high=16, whole=True),
    Knob(name="learning_rate", low=5e-4, high=1e-2, log=True),
    Knob(name="batch_rows", choices=(32, 64, 128)),
    Knob(name="repeat_weight", low=0.1, high=1.0),
    Knob(name="width", choices=(32, 64, 96, 128)),
    Knob(name="layers", low=1, high=3, whole=True),
    Knob(name="dropout", low=0.0, high=0.5),
)


def tuned_recipe(
    data: ShopData, champion: Recipe, settings: TuneSettings, reason: str
) -> tuple[Recipe, Tuned]:
    """The recipe to train with, and the study that says why.

    Raises:
        RejectedModel: no fold has a returning customer to judge by.
    """
    folds = [one for one in _folds(data, settings.folds, champion.seed) if one[1]]
    if not folds:
        raise RejectedModel("too_little_data", "no week has a returning customer to tune by")
    item_ids, titles = vocabulary_of(data)
    vocabulary = SequenceVocabulary(item_ids)

    def scores(parameters: Parameters) -> Iterator[NDArray[np.float64]]:
        recipe = as_recipe(champion, parameters)
        for after_ms, requests in folds:
            seen = [one for one in data.interactions if one.at_ms <= after_ms]
            model = fit(training_sessions(seen), vocabulary, titles, recipe)
            said = scorer_of(model)([request.history for request in requests])
            found = np.asarray(log_probs(requests, said, DISCOVER), np.float64)
            yield found[~np.isnan(found)]

    budget = Budget(trials=settings.trials, within_s=settings.within_s)
    study = tune(KNOBS, as_parameters(champion), scores, budget, champion.seed, reason)
    return as_recipe(champion, study.parameters), study


def as_parameters(recipe: Recipe) -> Parameters:
    """What of a recipe is searched.

    >>> as_parameters(Recipe())["layers"]
    1
    """
    return {
        "epochs": recipe.epochs,
        "learning_rate": recipe.learning_rate,
        "batch_rows": recipe.batch_rows,
        "repeat_weight": recipe.repeat_weight,
        "width": recipe.shape.width,
        "layers": recipe.shape.layers,
        "dropout": recipe.shape.dropout,
    }


def as_recipe(recipe: Recipe, found: Parameters) -> Recipe:
    """The recipe with these parameters."""
    shape: Shape = replace(
        recipe.shape,
        width=int(found["width"]),
        layers=int(found["layers"]),
        dropout=float(found["dropout"]),
    )
    return replace(
        recipe,
        shape=shape,
        epochs=int(found["epochs"]),
        learning_rate=float(found["learning_rate"]),
        batch_rows=int(found["batch_rows"]),
        repeat_weight=float(found["repeat_weight"]),
    )


def _folds(data: ShopData, wanted: int, seed: int) -> list[tuple[int, list[HeldOut]]]:
    """Where each fold's hold-out begins and its requests: one week each, the oldest first."""
    found = []
    for back in range(wanted, 0, -1):
        after_ms = data.until_ms - back * FOLD_MS
        until = [one for one in data.interactions if one.at_ms <= after_ms + FOLD_MS]
        # What nobody bought for the first time says nothing here.
        requests = [one for one in held_out(until, after_ms, seed) if one.new_basket]
        found.append((after_ms, requests))
    return found
