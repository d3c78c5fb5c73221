"""The hyper-parameters of each kind of fit, chosen on Online Retail.

One thread is the default: on a network this small a second one makes a fit no faster (four times
slower on a busy machine), and only one gives the same version for the same data and seed.
"""

from __future__ import annotations

from dataclasses import replace

from core.settings import DAY_MS, Settings
from trainer.recommend.fit import Recipe
from trainer.recommend.lessons import Lessons

FIRST = Recipe(epochs=8, batch_rows=64, learning_rate=4e-3)
WARM = Recipe(epochs=2, batch_rows=64, learning_rate=2e-3)
REFIT = Recipe(epochs=2, learning_rate=1e-3)
FRESH_AT_LEAST_MS = 28 * DAY_MS
FRESH_AT_MOST_MS = 56 * DAY_MS
"""A warm start predicts what its parent has not seen, within these bounds."""


def with_settings(recipe: Recipe, settings: Settings) -> Recipe:
    """The recipe with the operator's seed, threads, weights of lessons and patience."""
    lessons = recipe.lessons
    if lessons.is_off:
        lessons = Lessons(settings.learn_explored, settings.learn_passed, settings.learn_corrected)
    patience = recipe.patience or settings.training_patience
    return replace(usual_with_settings(recipe, settings), lessons=lessons, patience=patience)


def usual_with_settings(recipe: Recipe, settings: Settings) -> Recipe:
    """The same without what an operator has switched on beyond the usual."""
    return replace(recipe, seed=settings.seed, threads=settings.threads)


def as_parameters(prefix: str, recipe: Recipe) -> dict[str, float | int | str | bool]:
    """The recipe as a manifest records it."""
    return {
        f"{prefix}.epochs": recipe.epochs,
        f"{prefix}.batch_rows": recipe.batch_rows,
        f"{prefix}.learning_rate": recipe.learning_rate,
        f"{prefix}.repeat_weight": recipe.repeat_weight,
        f"{prefix}.width": recipe.shape.width,
        f"{prefix}.layers": recipe.shape.layers,
        f"{prefix}.heads": recipe.shape.heads,
        f"{prefix}.dropout": recipe.shape.dropout,
        f"{prefix}.threads": recipe.threads,
        f"{prefix}.decay": recipe.decay,
        f"{prefix}.averaged": recipe.averaged,
        f"{prefix}.crop": recipe.augment.crop,
        f"{prefix}.hide": recipe.augment.hide,
        f"{prefix}.reorder": recipe.augment.reorder,
        f"{prefix}.patience": recipe.patience,
        f"{prefix}.learn_explored": recipe.lessons.explored,
        f"{prefix}.learn_passed": recipe.lessons.passed,
        f"{prefix}.learn_corrected": recipe.lessons.corrected,
    }
