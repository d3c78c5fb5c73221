"""Answers to a batch of requests: one code path for HTTP and Kafka.

Histories, one pass of the model for the whole batch, candidates and ranking per request. It reads
the live state, changes nothing in it and knows no transport.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from adapters.onnx import GRAPH_ERRORS, LoadedVersion
from core.candidates import Ask, Ground, gather_each, ground_of
from core.ports import ShopRules
from core.ranking import Ranked, ranked
from core.sequence import SequenceScores
from core.shop_state import ShopState
from schemas.ids import derived_id
from schemas.predictions import Arm, Context, Prediction, Slot
from serving.asking import Asked, context_of, question, surface_of
from serving.engine import Engine
from serving.plain import filled, plain_slots

POLICY = "loop"
EXPLORED_PER_10_000 = 100
NO_MODEL, MODEL_FAILED = "no_model", "model_failed"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moment:
    """When a batch is answered: wall time, when it arrived (performance counter), and by whom."""

    wall_ms: int
    arrived_s: float
    served_by: str


@dataclass(frozen=True)
class _Asked:
    """One request, what it is answered from, and when."""

    request: Asked
    context: Context
    moment: Moment

    @property
    def at_ms(self) -> int:
        """The event time it is asked at."""
        as_of_ms = self.request.as_of_ms
        return as_of_ms if as_of_ms is not None else self.moment.wall_ms

    def question(self) -> Ask:
        """What the core is asked."""
        request = self.request
        return question(
            request.visitor_id, surface_of(request), self.at_ms, request.k, self.context
        )


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
    state: ShopState,
    engine: Engine,
    batch: Sequence[Asked],
    moment: Moment,
    rules: ShopRules | None = None,
    explored: int = EXPLORED_PER_10_000,
) -> list[Prediction]:
    """One answer per request, in order; a repeated request id gets the same prediction id.

    `explored` of 10,000 requests draw one place by chance.
    """
    name = rules.name if rules is not None else ""
    asked = [_Asked(request, context_of(state, request, name), moment) for request in batch]
    return [
        _prediction(one, heard, _ranking(state, engine, one, heard, rules, explored))
        for one, heard in zip(asked, _heard(engine, asked), strict=True)
    ]


def is_explored(request_id: str, per_10_000: int = EXPLORED_PER_10_000) -> bool:
    """Whether this request belongs to the exploration slice, by its id alone."""
    return _draw(request_id) % 10_000 < per_10_000


def _heard(engine: Engine, asked: Sequence[_Asked]) -> list[_Heard]:
    """What the model says of each request: one pass for the champion's, one for the canary's."""
    routes = [engine.answers(one.request.visitor_id) for one in asked]
    heard: dict[int, _Heard] = {}
    for arm in dict.fromkeys(arm for _, arm in routes):
        mine = [place for place, (_, by) in enumerate(routes) if by == arm]
        version = routes[mine[0]][0]
        histories = [asked[place].context.history for place in mine]
        sequences, degraded = _sequences(version, histories)
        for place, sequence in zip(mine, sequences, strict=True):
            heard[place] = _Heard(version, arm, sequence, degraded)
    return [heard[place] for place in range(len(asked))]


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


def _ranking(
    state: ShopState,
    engine: Engine,
    one: _Asked,
    heard: _Heard,
    rules: ShopRules | None,
    explored: int,
) -> Ranking:
    ask = one.question()
    ground = ground_of(state, ask, rules.allowed(state, ask) if rules is not None else None)
    if heard.sequence is None or heard.version is None:
        ranking = Ranking("fallback", plain_slots(ground, rules), [], "", heard.degraded)
    else:
        brought = rules.brought(ground) if rules is not None else {}
        (candidates,) = gather_each(ground, [heard.sequence], brought)
        order = ranked(candidates, engine.live_weights(heard.version, ask.surface))
        if rules is not None:
            order = rules.reordered(ground, order)
        request_id = one.request.request_id
        draws = is_explored(request_id, explored) and len(order.choices(ask.k)[1]) > 1
        ranking = _shown(ground, order, heard.arm, request_id if draws else None)
    if rules is not None:
        rules.served(state, ask, [slot.item_id for slot in ranking.slots])
    return ranking


def _shown(ground: Ground, order: Ranked, arm: Arm, drawn_for: str | None) -> Ranking:
    """The list; for the request that `drawn_for` names, with one place drawn by chance."""
    k = ground.ask.k
    if drawn_for is not None:
        arm = "explore"
        shown = order.explored(k, np.random.default_rng(_draw("explore" + drawn_for)))
    else:
        shown = order.best(k)
    listed = {slot.item_id for slot in shown}
    rest = [slot for slot in order.considered(k) if slot.item_id not in listed]
    if len(shown) < k and (more := _more(ground, shown)):
        # Items that no source brought have no features, so the whole answer is not learned from.
        shown, rest = _completed(shown, more), []
    return Ranking(arm, shown, rest, order.weights_version)


def _more(ground: Ground, shown: list[Slot]) -> list[str]:
    """What makes a short list up to k, where there is anything."""
    return filled(ground, [slot.item_id for slot in shown])[len(shown) :]


def _completed(shown: list[Slot], more: list[str]) -> list[Slot]:
    bare = [msgspec.structs.replace(slot, features=[]) for slot in shown]
    lowest = bare[-1].score if bare else 0.0
    extra = [
        Slot(item_id=name, position=place, score=lowest - place, source="fill")
        for place, name in enumerate(more, start=len(bare) + 1)
    ]
    return bare + extra


def _prediction(one: _Asked, heard: _Heard, ranking: Ranking) -> Prediction:
    request, moment = one.request, one.moment
    version = heard.version.version if heard.version is not None else ""
    return Prediction(
        prediction_id=derived_id("prediction", request.request_id, POLICY),
        request_id=request.request_id,
        visitor_id=request.visitor_id,
        task=request.task,
        surface=surface_of(request),
        served_at_ms=one.at_ms,
        policy=POLICY,
        arm=ranking.arm,
        model_version=version if ranking.arm != "fallback" else "",
        weights_version=ranking.weights_version,
        slots=ranking.slots,
        considered=ranking.considered,
        context=one.context,
        session_id=request.session_id,
        degraded=ranking.degraded,
        latency_ms=round((time.perf_counter() - moment.arrived_s) * 1e3, 3),
        served_by=moment.served_by,
    )


def _draw(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
