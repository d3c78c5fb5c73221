"""Candidate and champion on the same held-out requests, each with the state of its moment.

Judged are the sequence model's own source alone and the whole answer (all sources, ranked), beside
the plain baselines. What the figures must be is for `core/gate.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from core.baselines import own_items, popular_7d
from core.candidates import Ask, Candidates, gather_each, ground_of
from core.gate import MINIMUM_REQUESTS
from core.model_version import sha256
from core.ranker_fit import fit_initial
from core.ranking import RankerWeights, ranked
from core.sequence import SequenceScores
from core.shop_state import ShopState
from core.surfaces import BUY_AGAIN, DISCOVER, HOME, wanted
from trainer.recommend.data import ShopData
from trainer.recommend.holdout import HeldOut
from trainer.recommend.past_state import PastState, items_in_order

K, EXPLAINED = 10, 100
UNKNOWN_LOG_PROB = -14.0
SURFACES = (HOME, DISCOVER)
"""Every version is judged on these; on others that are named, where enough requests count."""

Floats = NDArray[np.float64]
Scorer = Callable[[Sequence[Sequence[str]]], list[SequenceScores]]
Weights = Mapping[str, RankerWeights]
Shown = dict[str, float]
"""The items of one answer with their scores, best first."""


@dataclass(frozen=True)
class Lists:
    """Hit and recall of one policy's lists per request, NaN where the request does not count."""

    hit: Floats
    recall: Floats


@dataclass
class Judged:
    """Everything measured: `lists` by (policy, surface), `log_prob` by (model, surface or swapped).

    `log_prob` is the mean over a basket's items (on discover the new ones), and under the name
    `swapped` the same when each request is answered from another customer's history. `shown` holds
    a model's whole answers by (model, surface).
    """

    requests: Sequence[HeldOut]
    lists: dict[tuple[str, str], Lists] = field(default_factory=dict)
    log_prob: dict[tuple[str, str], Floats] = field(default_factory=dict)
    gathered: dict[tuple[str, str], list[Candidates]] = field(default_factory=dict)
    shown: dict[tuple[str, str], list[Shown]] = field(default_factory=dict)
    state: ShopState = field(default_factory=ShopState)
    surfaces: tuple[str, ...] = SURFACES

    @property
    def customers(self) -> list[str]:
        """The customer of each request."""
        return [request.visitor_id for request in self.requests]

    def figures(self) -> dict[str, float]:
        """Means by policy and surface, as a manifest keeps them."""
        found = {"held_out_requests": float(len(self.requests))}
        for (policy, surface), lists in self.lists.items():
            found[f"{policy}.{surface}.hr@10"] = _mean(lists.hit)
            found[f"{policy}.{surface}.recall@10"] = _mean(lists.recall)
        for (model, surface), values in self.log_prob.items():
            found[f"{model}.{surface}.log_prob"] = _mean(values)
        return found


def surfaces_of(requests: Sequence[HeldOut], named: Sequence[str]) -> tuple[str, ...]:
    """Where these requests can judge: `home`, `discover`, and `buy_again` where it is named.

    That wants the gate's minimum of requests that were followed by something bought again.
    """
    again = sum(bool(wanted_items(request, BUY_AGAIN)) for request in requests)
    counts = BUY_AGAIN in named and again >= MINIMUM_REQUESTS
    return (*SURFACES, BUY_AGAIN) if counts else SURFACES


def judge(
    data: ShopData,
    requests: Sequence[HeldOut],
    models: Mapping[str, Scorer],
    past: PastState,
    surfaces: tuple[str, ...] = SURFACES,
) -> Judged:
    """Walks the hold-out once: own sources, baselines, and candidates for the whole answer."""
    judged = Judged(requests, surfaces=surfaces)
    said = {name: scorer([r.history for r in requests]) for name, scorer in models.items()}
    for name, scores in said.items():
        _judge_source(judged, name, scores)
    shifted = [requests[i - len(requests) // 2].history for i in range(len(requests))]
    for name, scorer in models.items():
        judged.log_prob[name, "swapped"] = log_probs(requests, scorer(shifted), DISCOVER)
    _walk(data, judged, said, past)
    return judged


def judge_ranked(judged: Judged, model: str, weights: Weights) -> None:
    """Adds the whole answer of a model, ranked with these weights; without its own, as `home`."""
    for surface in judged.surfaces:
        mine = weights.get(surface, weights[HOME])
        shown = [_top(candidates, mine) for candidates in judged.gathered[model, surface]]
        _keep(judged, model, surface, shown)


def judge_cross_fitted(judged: Judged, model: str) -> dict[str, RankerWeights]:
    """Adds the whole answer of a model whose ranker no one has trained yet.

    Each half of the customers is ranked with weights fitted on the other half; the weights that
    are returned are fitted on all. Where nothing counts in a half, the other is ranked as `home`.
    """
    names, index = np.unique(judged.customers, return_inverse=True)
    half = np.random.default_rng(len(names)).permutation(len(names))[index] % 2
    fitted: dict[str, RankerWeights] = {}
    for surface in judged.surfaces:
        gathered = judged.gathered[model, surface]
        counts = np.array([bool(wanted_items(one, surface)) for one in judged.requests])
        shown: list[Shown] = [{} for _ in gathered]
        for side in (0, 1):
            others = np.flatnonzero((half != side) & counts)
            lacks = surface != HOME and not len(others)
            weights = fitted[HOME] if lacks else _fitted(judged, surface, gathered, others)
            for i in np.flatnonzero(half == side):
                shown[i] = _top(gathered[i], weights)
        _keep(judged, model, surface, shown)
        fitted[surface] = _fitted(judged, surface, gathered, np.flatnonzero(counts))
    return fitted


def judged_lists(
    requests: Sequence[HeldOut], surface: str, lists: Sequence[Sequence[str]]
) -> Lists:
    """Hit and recall of lists against what counts on the surface, NaN where nothing does."""
    hit, recall = np.full(len(requests), np.nan), np.full(len(requests), np.nan)
    for i, (request, shown) in enumerate(zip(requests, lists, strict=True)):
        counts = wanted_items(request, surface)
        if counts:
            found = len(counts.intersection(shown))
            hit[i], recall[i] = float(found > 0), found / len(counts)
    return Lists(hit, recall)


def candidate_rows(judged: Judged, model: str) -> dict[str, Floats]:
    """Features of what a model's ranker chose among, by surface, of requests evenly apart."""
    found = {}
    for surface in judged.surfaces:
        gathered = judged.gathered[model, surface]
        some = gathered[:: max(1, -(-len(gathered) // EXPLAINED))]
        found[surface] = np.concatenate([one.features for one in some]).astype(np.float64)
    return found


def wanted_items(request: HeldOut, surface: str) -> frozenset[str]:
    """What counts as found on a surface."""
    return frozenset(wanted(surface, request.basket, request.new_basket))


def _judge_source(judged: Judged, name: str, scores: list[SequenceScores]) -> None:
    for surface in SURFACES:
        lists = [
            source_list(said, request.bought if surface == DISCOVER else frozenset())
            for said, request in zip(scores, judged.requests, strict=True)
        ]
        source = judged_lists(judged.requests, surface, lists)
        judged.lists[f"{name}.source", surface] = source
        judged.log_prob[name, surface] = log_probs(judged.requests, scores, surface)


def source_list(said: SequenceScores, without: frozenset[str]) -> list[str]:
    """The ten best of what a model says alone, some items left out."""
    index = said.vocabulary.index
    log_probs = said.log_probs.copy()
    log_probs[[index[item] for item in without if item in index]] = -np.inf
    best = np.argpartition(-log_probs, min(K, len(log_probs) - 1))[:K]
    return [said.vocabulary.item_ids[i] for i in best]


def log_probs(requests: Sequence[HeldOut], scores: list[SequenceScores], surface: str) -> Floats:
    result = np.full(len(requests), np.nan)
    for i, (request, said) in enumerate(zip(requests, scores, strict=True)):
        counts = sorted(wanted_items(request, surface))
        if counts:
            index = said.vocabulary.index
            known = [float(said.log_probs[index[item]]) for item in counts if item in index]
            unknown = [UNKNOWN_LOG_PROB] * (len(counts) - len(known))
            result[i] = float(np.mean(known + unknown))
    return result


def _walk(
    data: ShopData,
    judged: Judged,
    said: Mapping[str, list[SequenceScores]],
    past: PastState,
) -> None:
    requests = judged.requests
    items = items_in_order(data)
    walk = past.before(data, items, requests[0].index)
    plain: dict[tuple[str, str], list[list[str]]] = {}
    for number, request in enumerate(requests):
        walk.advance(data, items, request.index)
        for surface in judged.surfaces:
            ask = Ask(request.visitor_id, surface, request.asked_ms, K)
            ground = ground_of(walk.state, ask)
            plain.setdefault(("popular_7d", surface), []).append(popular_7d(ground))
            if surface != DISCOVER:
                plain.setdefault(("own_items", surface), []).append(own_items(ground))
            heard = [scores[number] for scores in said.values()]
            for name, found in zip(said, gather_each(ground, heard), strict=True):
                judged.gathered.setdefault((name, surface), []).append(found)
    walk.advance(data, items, len(data.interactions))
    judged.state = walk.state
    for (policy, surface), lists in plain.items():
        judged.lists[policy, surface] = judged_lists(requests, surface, lists)


def _mean(values: Floats) -> float:
    counted = values[~np.isnan(values)]
    return round(float(counted.mean()), 6) if len(counted) else 0.0


def _top(candidates: Candidates, weights: RankerWeights) -> Shown:
    return ranked(candidates, weights).scored(K)


def _keep(judged: Judged, model: str, surface: str, shown: list[Shown]) -> None:
    judged.shown[model, surface] = shown
    lists = [list(answer) for answer in shown]
    judged.lists[model, surface] = judged_lists(judged.requests, surface, lists)


def _fitted(
    judged: Judged,
    surface: str,
    gathered: Sequence[Candidates],
    chosen: NDArray[np.int64],
) -> RankerWeights:
    features, labels = [], []
    for i in chosen:
        counts = wanted_items(judged.requests[i], surface)
        features.append(gathered[i].features)
        labels.append(np.array([item in counts for item in gathered[i].item_ids], np.float64))
    weights = fit_initial(np.concatenate(features), np.concatenate(labels), "")
    content = sha256(weights.coef.tobytes())
    return replace(weights, version=f"initial-{content[:12]}")
