"""A candidate: fitted on all before the hold-out, judged on it, and asked the gate's checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.gate import MINIMUM_REQUESTS
from core.model_version import sha256
from core.ranking import RankerWeights
from core.sequence import SequenceVocabulary
from core.settings import Settings
from core.surfaces import BUY_AGAIN, DISCOVER, HOME
from schemas.errors import RejectedModel
from schemas.models import GateCheck, Retrain
from trainer.recommend.card import Card, card_of, leakage_check
from trainer.recommend.checks import CANDIDATE, CHAMPION, CHAMPION_REFIT, offline_checks
from trainer.recommend.data import ShopData, training_sessions, vocabulary_of
from trainer.recommend.evaluate import (
    Judged,
    Scorer,
    judge,
    judge_cross_fitted,
    judge_ranked,
    log_probs,
    surfaces_of,
)
from trainer.recommend.exploration import exploration_check
from trainer.recommend.fit import Also, Recipe, SequenceModel, fit
from trainer.recommend.guards import guard_checks
from trainer.recommend.holdout import HeldOut, first_holdout, holdout
from trainer.recommend.parent import Champion, scorer_of
from trainer.recommend.past_state import PastState
from trainer.recommend.recipes import (
    FIRST,
    FRESH_AT_LEAST_MS,
    FRESH_AT_MOST_MS,
    REFIT,
    WARM,
    usual_with_settings,
    with_settings,
)
from trainer.recommend.windows import VisitorSessions
from trainer.stages import Stages

FITTING, REFERENCE, REFITTING = PARTS = ("fit", "reference", "refit")
Weights = Mapping[str, RankerWeights]
Sessions = Callable[[list[VisitorSessions]], list[VisitorSessions]]


@dataclass(frozen=True)
class Job:
    """One retrain with what it is trained on and from; `refused` says why there is no champion.

    `disturb` changes the training sessions: for the proof that the gate refuses nonsense.
    `recipe` stands in for the usual one of a fit: then the gate also asks whether it is better than
    that. `checkpoints` is the folder where a training that is killed finds how far it was.
    """

    retrain: Retrain
    data: ShopData
    live_weights: Weights
    champion: Champion | None = None
    refused: str = ""
    disturb: Sessions | None = None
    checkpoints: Path | None = None
    recipe: Recipe | None = None

    def checkpoint(self, part: str) -> Path | None:
        """Where a part of this training says how far it is; None where nobody keeps that."""
        if self.checkpoints is None:
            return None
        name = sha256(self.retrain.retrain_id.encode())[:16]
        return self.checkpoints / f"{name}-{part}.safetensors"

    def forget_checkpoints(self) -> None:
        """Removes what a finished training no longer needs."""
        for part in PARTS:
            path = self.checkpoint(part)
            if path is not None:
                path.unlink(missing_ok=True)

    @property
    def is_first(self) -> bool:
        """Whether there is neither a champion nor a ranker to go on from."""
        return self.champion is None and not self.live_weights

    @property
    def usual_recipe(self) -> Recipe:
        """How a fit begins when nothing else is asked for."""
        return FIRST if self.champion is None else WARM

    @property
    def fit_recipe(self) -> Recipe:
        """How the candidate is fitted."""
        return self.recipe or self.usual_recipe


@dataclass(frozen=True)
class Candidate:
    """A fitted network, where its hold-out begins, its judgement and its ranker weights."""

    model: SequenceModel
    titles: list[str]
    after_ms: int
    judged: Judged
    ranker: dict[str, RankerWeights]
    checks: list[GateCheck]
    card: Card

    @property
    def requests(self) -> list[HeldOut]:
        """The held-out requests."""
        return list(self.judged.requests)


def make_candidate(job: Job, settings: Settings, past: PastState, stages: Stages) -> Candidate:
    """Fits, judges and checks; raises RejectedModel when there is too little data for that."""
    draw = first_holdout if job.is_first else holdout
    after_ms, requests = draw(job.data.interactions, job.data.until_ms, settings.seed)
    if len(requests) < MINIMUM_REQUESTS:
        raise RejectedModel(
            "too_little_data",
            f"{len(requests)} held-out requests of returning customers up to "
            f"{job.data.until_ms}, at least {MINIMUM_REQUESTS} are needed",
        )
    item_ids, titles = vocabulary_of(job.data)
    fitting = _Fitting(job, settings, SequenceVocabulary(item_ids), titles, after_ms)
    with stages.stage("fit"):
        model = fitting.candidate()
        models = {CANDIDATE: scorer_of(model), **fitting.rivals()}
    with stages.stage("judge"):
        where = surfaces_of(requests, settings.surface_names)
        judged = judge(job.data, requests, models, past, where)
    with stages.stage("gate"):
        ranker = _ranked(judged, list(models), job.live_weights, settings.surface_names)
        checks = offline_checks(judged, settings.seed, is_first=job.champion is None)
        # A model's own list is of the whole catalogue: it says nothing of one of bought items.
        explored = [one for one in job.data.explored if one.surface != BUY_AGAIN]
        unseen = [one for one in explored if one.served_at_ms > after_ms]
        checks.append(exploration_check(unseen, models, settings.seed))
        if job.champion is not None:
            checks += guard_checks(job.data, judged, after_ms, settings.seed)
        card = card_of(job.data, requests, after_ms) | {"ranked_as_home": _as_home(ranker)}
        checks.append(leakage_check(card))
    return Candidate(model, titles, after_ms, judged, ranker, checks, card)


def refitted(job: Job, settings: Settings, candidate: Candidate) -> SequenceModel:
    """The candidate taken a step further on the hold-out."""
    sessions = training_sessions(job.data.interactions, candidate.after_ms)
    return fit(
        sessions,
        candidate.model.vocabulary,
        candidate.titles,
        with_settings(REFIT, settings),
        candidate.model.as_parent(),
        Also(
            job.checkpoint(REFITTING),
            [one for one in job.data.lessons if one.at_ms > candidate.after_ms],
        ),
    )


def held_out_log_prob(model: SequenceModel, candidate: Candidate) -> float:
    """Mean log-probability of what was newly bought in the hold-out."""
    requests = candidate.requests
    scores = scorer_of(model)([request.history for request in requests])
    return float(np.nanmean(log_probs(requests, scores, DISCOVER)))


@dataclass(frozen=True)
class _Fitting:
    """What is fitted on everything before the hold-out."""

    job: Job
    settings: Settings
    vocabulary: SequenceVocabulary
    titles: list[str]
    after_ms: int

    def candidate(self) -> SequenceModel:
        """The network that the gate is asked about."""
        sessions = self._sessions()
        if self.job.disturb is not None:
            sessions = self.job.disturb(sessions)
        return self._fit(sessions, self._recipe, FITTING)

    def rivals(self) -> dict[str, Scorer]:
        """The champion as it is and, when the candidate's recipe is new, re-fitted by the usual."""
        if self.job.champion is None:
            return {}
        found = {CHAMPION: self.job.champion.scorer}
        usual = usual_with_settings(self.job.usual_recipe, self.settings)
        if self._recipe != usual:
            refit = self._fit(self._sessions(), usual, REFERENCE)
            found[CHAMPION_REFIT] = scorer_of(refit)
        return found

    @property
    def _recipe(self) -> Recipe:
        return with_settings(self.job.fit_recipe, self.settings)

    def _sessions(self) -> list[VisitorSessions]:
        seen = [one for one in self.job.data.interactions if one.at_ms <= self.after_ms]
        fresh_after_ms = -1
        if self.job.champion is not None:
            unseen_ms = self.after_ms - self.job.champion.data_until_ms
            fresh_ms = min(max(unseen_ms, FRESH_AT_LEAST_MS), FRESH_AT_MOST_MS)
            fresh_after_ms = self.after_ms - fresh_ms
        return training_sessions(seen, fresh_after_ms)

    def _fit(self, sessions: list[VisitorSessions], recipe: Recipe, part: str) -> SequenceModel:
        parent = None if self.job.champion is None else self.job.champion.weights
        known = [one for one in self.job.data.lessons if one.at_ms <= self.after_ms]
        also = Also(self.job.checkpoint(part), known)
        return fit(sessions, self.vocabulary, self.titles, recipe, parent, also)


def _ranked(
    judged: Judged, models: list[str], live: Weights, surfaces: Sequence[str]
) -> dict[str, RankerWeights]:
    """Judges whole answers: with the weights in force, else with weights fitted here.

    Returns weights for every surface; one that has none, or too few requests to be fitted on,
    begins as `home` does, with its weights version.
    """
    if live:
        for model in models:
            judge_ranked(judged, model, live)
        return dict.fromkeys(surfaces, live[HOME]) | dict(live)
    fitted = {model: judge_cross_fitted(judged, model) for model in models}
    weights = fitted[CANDIDATE]
    return {surface: weights.get(surface, weights[HOME]) for surface in surfaces}


def _as_home(ranker: Weights) -> str:
    """The surfaces that begin with the weights of `home`, by comma."""
    return ",".join(n for n in ranker if n != HOME and ranker[n].version == ranker[HOME].version)
