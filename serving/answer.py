"""Answers to a batch of requests: one code path for HTTP and Kafka.

Histories, one pass of the model for the whole batch, candidates and ranking per request. It reads
the live state, changes nothing and knows no transport.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from adapters.onnx import GRAPH_ERRORS, LoadedVersion
from core.baselines import popular_7d
from core.candidates import Ask, Ground, gather_each, ground_of
from core.features import feature_schema_hash
from core.ranking import RankerWeights, ranked
from core.sequence import HISTORY_LENGTH, SequenceScores
from core.shop_state import ShopState
from schemas.ids import derived_id
from schemas.predictions import Arm, Context, Prediction, RecommendRequest, Slot
from serving.engine import Engine

POLICY = "loop"
EXPLORED_PER_10_000 = 100
FILL_DAYS = 28
NO_MODEL, MODEL_FAILED = "no_model", "model_failed"
FEATURE_SCHEMA = feature_schema_hash()

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moment:
    """When a batch is answered: wall time, when it arrived (performance counter), and by whom."""

    wall_ms: int
    arrived_s: float
    served_by: str


@dataclass(frozen=True)
class _Heard:
    """Who answers one request, in which arm, and what its model says, or why it says nothing."""

    version: LoadedVersion | None
    arm: Arm
    sequence: SequenceScores | None
    degraded: str | None


@dataclass(frozen=True)
class Ranking:
    """An ordered list with what is logged about it."""

    arm: Arm
    slots: list[Slot]
    considered: list[Slot]
    weights_version: str
    degraded: str | None = None


def answer(
    state: ShopState, engine: Engine, batch: Sequence[RecommendRequest], moment: Moment
) -> list[Prediction]:
    """One answer per request, in order; a repeated request id gets the same prediction id."""
    histories = [state.history(request.visitor_id, HISTORY_LENGTH) for request in batch]
    answers = []
    for request, history, heard in zip(
        batch, histories, _heard(engine, batch, histories), strict=True
    ):
        ground = ground_of(state, _ask(request, moment))
        if heard.sequence is None or heard.version is None:
            ranking = _popular(ground, heard.degraded)
        else:
            weights = engine.live_weights(heard.version, request.surface)
            ranking = _ranked(ground, heard, weights, request.request_id)
        version = heard.version.version if heard.version is not None else ""
        answers.append(_prediction(state, request, history, ranking, version, moment))
    return answers


def is_explored(request_id: str) -> bool:
    """Whether this request belongs to the exploration slice: one in a hundred, by its id alone."""
    return _draw(request_id) % 10_000 < EXPLORED_PER_10_000


def filled(ground: Ground, item_ids: Sequence[str]) -> list[str]:
    """The list up to k: what was popular in four weeks, then the catalogue in its own order."""
    state, ask, allowed = ground.state, ground.ask, ground.allowed
    popular = state.popularity.ranked(ask.now_ms, FILL_DAYS)
    popular = popular[allowed[popular]][: 2 * ask.k]
    rows = np.concatenate([popular, allowed.nonzero()[0]])
    names = [state.catalogue.item_ids[row] for row in rows[: 4 * ask.k].tolist()]
    return list(dict.fromkeys([*item_ids, *names]))[: ask.k]


def _ask(request: RecommendRequest, moment: Moment) -> Ask:
    return Ask(
        visitor_id=request.visitor_id,
        surface=request.surface,
        now_ms=request.as_of_ms if request.as_of_ms is not None else moment.wall_ms,
        k=request.k,
        exclude=frozenset(request.exclude_item_ids),
    )


def _heard(
    engine: Engine, batch: Sequence[RecommendRequest], histories: list[list[str]]
) -> list[_Heard]:
    """What the model says of each request: one pass for the champion's, one for the canary's."""
    routes = [engine.answers(request.visitor_id) for request in batch]
    heard: dict[int, _Heard] = {}
    for arm in dict.fromkeys(arm for _, arm in routes):
        mine = [place for place, (_, by) in enumerate(routes) if by == arm]
        version = routes[mine[0]][0]
        sequences, degraded = _sequences(version, [histories[place] for place in mine])
        for place, sequence in zip(mine, sequences, strict=True):
            heard[place] = _Heard(version, arm, sequence, degraded)
    return [heard[place] for place in range(len(batch))]


def _sequences(
    version: LoadedVersion | None, histories: list[list[str]]
) -> tuple[list[SequenceScores] | list[None], str | None]:
    """One pass of the model, or nothing per request with the reason."""
    if version is None:
        return [None] * len(histories), NO_MODEL
    try:
        return version.sequences(histories), None
    except GRAPH_ERRORS as error:
        log.error("version %s failed on %d requests: %s", version.version, len(histories), error)
        return [None] * len(histories), MODEL_FAILED


def _ranked(ground: Ground, heard: _Heard, weights: RankerWeights, request_id: str) -> Ranking:
    k = ground.ask.k
    (candidates,) = gather_each(ground, [heard.sequence])
    order = ranked(candidates, weights)
    rest = order.considered(k)
    if is_explored(request_id) and len(candidates.item_ids) > k:
        arm: Arm = "explore"
        shown = order.explored(k, np.random.default_rng(_draw("explore" + request_id)))
        rest = [slot for slot in rest if slot.item_id != shown[-1].item_id]
    else:
        arm, shown = heard.arm, order.best(k)
    if len(shown) < k:
        # Items that no source brought have no features, so the whole answer is not learned from.
        shown, rest = _completed(ground, shown), []
    return Ranking(arm, shown, rest, weights.version)


def _popular(ground: Ground, degraded: str | None) -> Ranking:
    names = filled(ground, popular_7d(ground))
    slots = [
        Slot(item_id=name, position=place, score=-float(place), source="popularity")
        for place, name in enumerate(names, start=1)
    ]
    return Ranking("fallback", slots, [], "", degraded)


def _completed(ground: Ground, shown: list[Slot]) -> list[Slot]:
    bare = [msgspec.structs.replace(slot, features=[]) for slot in shown]
    lowest = bare[-1].score if bare else 0.0
    names = filled(ground, [slot.item_id for slot in bare])
    extra = [
        Slot(item_id=name, position=place, score=lowest - place, source="fill")
        for place, name in enumerate(names, start=1)
    ]
    return bare + extra[len(bare) :]


def _prediction(
    state: ShopState,
    request: RecommendRequest,
    history: list[str],
    ranking: Ranking,
    version: str,
    moment: Moment,
) -> Prediction:
    return Prediction(
        prediction_id=derived_id("prediction", request.request_id, POLICY),
        request_id=request.request_id,
        visitor_id=request.visitor_id,
        task=request.task,
        surface=request.surface,
        served_at_ms=request.as_of_ms if request.as_of_ms is not None else moment.wall_ms,
        policy=POLICY,
        arm=ranking.arm,
        model_version=version if ranking.arm != "fallback" else "",
        weights_version=ranking.weights_version,
        slots=ranking.slots,
        considered=ranking.considered,
        context=Context(
            history=history,
            exclude_item_ids=request.exclude_item_ids,
            feature_schema=FEATURE_SCHEMA,
            seen_ms=state.seen_ms,
        ),
        session_id=request.session_id,
        degraded=ranking.degraded,
        latency_ms=round((time.perf_counter() - moment.arrived_s) * 1e3, 3),
        served_by=moment.served_by,
    )


def _draw(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
