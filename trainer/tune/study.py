"""A search over hyper-parameters: the champion's are trial 0, and a better trial must be surely so.

Trials are judged on folds in order of time, each fold's score a step at which a bad one is pruned.
The same seed and budget of trials give the same study; a budget of seconds does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.intervals import cluster_bootstrap
from core.tuning_policy import beats_champion

Value = float | int | str
Parameters = Mapping[str, Value]
Folds = Callable[[Parameters], Iterator[NDArray[np.float64]]]
"""Scores of each held-out row, higher is better, one array a fold; a pruned trial asks no more."""

ROUNDS = 1_000
UNPRUNED_TRIALS = 3


class Knob(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter to search: a range of numbers, or choices."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Value, ...] = ()


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the study's table; a pruned trial has fewer folds than others."""

    number: int
    parameters: dict[str, Value]
    state: str
    score: float | None = None
    folds: list[float] = []


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """What a study found; `parameters` are the champion's unless another trial surely beat them."""

    reason: str
    seed: int
    parameters: dict[str, Value]
    won: int
    champion_score: float
    champion_low: float
    champion_high: float
    trials: list[Trial] = []


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many trials, and for how long they may be begun."""

    trials: int
    within_s: float


def tune(
    knobs: Sequence[Knob],
    champion: Parameters,
    folds: Folds,
    budget: Budget,
    seed: int,
    reason: str,
) -> Tuned:
    """The study as a whole: every trial, and whose parameters to train with."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: dict[int, NDArray[np.float64]] = {}
    wide = [_widened(knob, champion[knob.name]) for knob in knobs]

    def objective(trial: Any) -> float:
        parameters = {**champion, **{knob.name: _asked(trial, knob) for knob in wide}}
        found: list[NDArray[np.float64]] = []
        for step, scores in enumerate(folds(parameters)):
            found.append(scores)
            trial.set_user_attr("folds", [float(each.mean()) for each in found])
            trial.report(float(np.concatenate(found).mean()), step)
            if trial.number and trial.should_prune():
                raise optuna.TrialPruned
        rows[trial.number] = np.concatenate(found)
        return float(rows[trial.number].mean())

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED_TRIALS, n_warmup_steps=0),
    )
    study.enqueue_trial({knob.name: champion[knob.name] for knob in wide})
    study.optimize(objective, n_trials=budget.trials, timeout=budget.within_s)
    return _tuned(study, rows, champion, seed, reason)


def _tuned(
    study: Any,
    rows: Mapping[int, NDArray[np.float64]],
    champion: Parameters,
    seed: int,
    reason: str,
) -> Tuned:
    """Whose parameters won: the best trial's only beyond the interval of the champion's score."""
    random = np.random.default_rng(seed)
    names = [str(i) for i in range(len(rows[0]))]
    score, low, high = cluster_bootstrap(rows[0], names, random, ROUNDS)
    best = study.best_trial
    won = best.number if beats_champion(score, (low, high), float(best.value)) else 0
    return Tuned(
        reason=reason,
        seed=seed,
        parameters={**champion, **(best.params if won else {})},
        won=won,
        champion_score=score,
        champion_low=low,
        champion_high=high,
        trials=[_row(trial) for trial in study.trials],
    )


def _row(trial: Any) -> Trial:
    return Trial(
        number=trial.number,
        parameters=dict(trial.params),
        state=trial.state.name.lower(),
        score=trial.value,
        folds=trial.user_attrs.get("folds", []),
    )


def _widened(knob: Knob, value: Value) -> Knob:
    """The knob with room for the champion's value."""
    if knob.choices:
        has = value in knob.choices
        return knob if has else msgspec.structs.replace(knob, choices=(*knob.choices, value))
    number = float(value)
    return msgspec.structs.replace(knob, low=min(knob.low, number), high=max(knob.high, number))


def _asked(trial: Any, knob: Knob) -> Value:
    if knob.choices:
        chosen: Value = trial.suggest_categorical(knob.name, list(knob.choices))
        return chosen
    if knob.whole:
        return int(trial.suggest_int(knob.name, int(knob.low), int(knob.high), log=knob.log))
    return float(trial.suggest_float(knob.name, knob.low, knob.high, log=knob.log))
