"""Answers to a batch of requests: one code path for HTTP and Kafka.

Histories, one pass of the model for the whole batch, candidates and ranking per request. It reads
the live state, changes nothing in it and knows no transport.
"""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from adapters.onnx import GRAPH_ERRORS, LoadedVersion
from core.candidates import Ask, Ground, gather_each, ground_of
from core.degrading import MODEL_FAILED, NO_MODEL, WHOLE, Usable, usable
from core.ports import ShopRules
from core.ranking import Ranked, RankerWeights, ranked
from core.sequence import SequenceScores
from core.shop_state import ShopState
from schemas.ids import derived_id
from schemas.predictions import Arm, Context, Prediction, Slot
from serving.asking import Asked, context_of, question, surface_of
from serving.engine import Engine
from serving.filling import filled

POLICY = "loop"
EXPLORED_PER_10_000 = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Moment:
    """When a batch is answered: wall time, when it arrived (performance counter), and by whom.

    `circuits` are those that are open then.
    """

    wall_ms: int
    arrived_s: float
    served_by: str
    circuits: tuple[str, ...] = ()


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

    def usable(self, arm: Arm) -> Usable:
        """What may have a say in its answer."""
        context = self.context
        from_state = not (context.history_given or context.item_id)
        return usable(self.moment.circuits, arm, from_state=from_state)

    def question(self) -> Ask:
        """What the core is asked."""
        request = self.request
        return question(
            request.visitor_id, surface_of(request), self.at_ms, request.k, self.context
        )


@dataclass(frozen=True)
class _Heard:
    """Who answers one request, in which arm, what its model says, and what else may have a say."""

    version: LoadedVersion | None
    arm: Arm
    sequence: SequenceScores | None
    parts: Usable = WHOLE

    def weights(self, engine: Engine, surface: str) -> RankerWeights:
        """The ranker weights that may have a say."""
        version = self.version if self.parts.shipped else None
        return engine.weights(version, surface, live=self.parts.live)


@dataclass(frozen=True)
class Ranking:
    """An ordered list with what is logged about it."""

    arm: Arm
    slots: list[Slot]
    considered: list[Slot]
    weights_version: str


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
        heard.update(zip(mine, _said(version, arm, [asked[at] for at in mine]), strict=True))
    return [heard[place] for place in range(len(asked))]


def _said(version: LoadedVersion | None, arm: Arm, asked: Sequence[_Asked]) -> list[_Heard]:
    """What one version says of its requests, where it may have a say; without one, why not."""
    parts = [one.usable(arm) for one in asked]
    if version is None:
        return [_Heard(None, arm, None, replace(each, reason=NO_MODEL)) for each in parts]
    listened = [place for place, each in enumerate(parts) if each.model]
    sequences = _sequences(version, [asked[place].context.history for place in listened])
    if sequences is None:
        for place in listened:
            parts[place] = replace(parts[place], reason=MODEL_FAILED, model=False)
    said = dict(zip(listened, sequences or (), strict=False))
    return [_Heard(version, arm, said.get(place), each) for place, each in enumerate(parts)]


def _sequences(version: LoadedVersion, histories: list[list[str]]) -> list[SequenceScores] | None:
    """One pass of the model; None when it fails."""
    try:
        return version.sequences(histories) if histories else []
    except GRAPH_ERRORS as error:
        log.error("version %s failed on %d requests: %s", version.version, len(histories), error)
        return None


def _ranking(
    state: ShopState,
    engine: Engine,
    one: _Asked,
    heard: _Heard,
    rules: ShopRules | None,
    explored: int,
) -> Ranking:
    ask = one.question()
    permitted = rules.allowed(state, ask) if rules is not None else None
    ground = ground_of(state, ask, permitted, is_stale=not heard.parts.history)
    brought = rules.brought(ground) if rules is not None else {}
    (candidates,) = gather_each(ground, [heard.sequence], brought)
    order = ranked(candidates, heard.weights(engine, ask.surface))
    if rules is not None:
        order = rules.reordered(ground, order)
    if heard.sequence is None:
        ranking = _unheard(ground, order)
    else:
        request_id = one.request.request_id
        draws = is_explored(request_id, explored) and len(order.choices(ask.k)[1]) > 1
        ranking = _shown(ground, order, heard.arm, request_id if draws else None)
    if rules is not None:
        rules.served(state, ask, [slot.item_id for slot in ranking.slots])
    return ranking


def _unheard(ground: Ground, order: Ranked) -> Ranking:
    """The list of a request that no model has a say in: bare, since nobody is to learn from it."""
    shown = order.best(ground.ask.k)
    return Ranking("fallback", _completed(shown, _more(ground, shown)), [], order.weights_version)


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
        degraded=heard.parts.reason,
        latency_ms=round((time.perf_counter() - moment.arrived_s) * 1e3, 3),
        served_by=moment.served_by,
    )


def _draw(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
