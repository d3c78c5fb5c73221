"""What the other policies would have answered: baselines, challenger, control.

Scored from the context a served answer logged and the shadow's own state. It writes nothing and
changes nothing in the state.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from adapters.onnx import GRAPH_ERRORS, LoadedVersion
from core.baselines import BASELINES
from core.candidates import Ask, Candidates, Ground, gather_each, ground_of
from core.ports import ShopRules
from core.ranking import RankerWeights, ranked
from core.sequence import SequenceScores
from core.shop_state import ShopState
from schemas.events import Id, Millis
from schemas.ids import derived_id
from schemas.predictions import Arm, Context, Prediction, Slot, Surface
from serving.asking import question
from serving.engine import Engine
from serving.filling import filled

log = logging.getLogger(__name__)


class ServedAnswer(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="kind",
    tag="prediction",
):
    """A `Prediction` as far as deriving needs it; slots, most of the bytes, stay undecoded."""

    prediction_id: Id
    request_id: Id
    visitor_id: Id
    task: Id
    surface: Surface
    served_at_ms: Millis
    arm: Arm
    slots: list[msgspec.Raw]
    context: Context = Context()
    session_id: Id | None = None


@dataclass(frozen=True)
class _Scorer:
    """One version over one batch: what its model says of each request."""

    policy: str
    arm: Arm
    version: LoadedVersion
    weigh: Callable[[LoadedVersion, str], RankerWeights]
    sequences: list[SequenceScores]


@dataclass(frozen=True)
class _Listed:
    """One policy's list for one request."""

    policy: str
    arm: Arm
    model_version: str
    weights_version: str
    slots: list[Slot]


def derive(
    state: ShopState,
    engine: Engine,
    served: Sequence[ServedAnswer],
    process: str,
    rules: ShopRules | None = None,
) -> list[Prediction]:
    """The derived answers, request by request, the control's last.

    `rules` are the shop's, as serving has them: what they rule out is listed by nobody.
    """
    histories = [prediction.context.history for prediction in served]
    scorers = list(_scorers(engine, histories))
    answers: list[Prediction] = []
    for index, prediction in enumerate(served):
        ask = _ask(prediction)
        ground = ground_of(state, ask, rules.allowed(state, ask) if rules is not None else None)
        brought = rules.brought(ground) if rules is not None else {}
        said = [scorer.sequences[index] for scorer in scorers]
        gathered = gather_each(ground, said, brought)
        lists = [*_baselines(ground), *map(partial(_listed, ground, rules), scorers, gathered)]
        answers.extend(_derived(prediction, listed, process) for listed in lists)
    return answers


def _scorers(engine: Engine, histories: list[list[str]]) -> Iterator[_Scorer]:
    roles: tuple[tuple[str, Arm, LoadedVersion | None], ...] = (
        ("challenger", "shadow", engine.challenger),
        ("control", "control", engine.control),
    )
    for policy, arm, version in roles:
        if version is None:
            continue
        weigh = engine.control_weights if arm == "control" else engine.live_weights
        try:
            yield _Scorer(policy, arm, version, weigh, version.sequences(histories))
        except GRAPH_ERRORS as error:
            log.error("%s %s failed: %s", policy, version.version, error)


def _baselines(ground: Ground) -> Iterator[_Listed]:
    for name, baseline in BASELINES.items():
        slots = [
            Slot(item_id=item, position=place, score=-float(place))
            for place, item in enumerate(_to_k(ground, baseline(ground)), start=1)
        ]
        yield _Listed(name, "shadow", name, "", slots)


def _listed(
    ground: Ground, rules: ShopRules | None, scorer: _Scorer, candidates: Candidates
) -> _Listed:
    weights = scorer.weigh(scorer.version, ground.ask.surface)
    order = ranked(candidates, weights)
    if rules is not None:
        order = rules.reordered(ground, order)
    scores = order.scored(ground.ask.k)
    lowest = min(scores.values(), default=0.0)
    slots = [
        Slot(item_id=item, position=place, score=scores.get(item, lowest - place))
        for place, item in enumerate(_to_k(ground, list(scores)), start=1)
    ]
    version = scorer.version.version
    return _Listed(scorer.policy, scorer.arm, version, weights.version, slots)


def _to_k(ground: Ground, items: list[str]) -> list[str]:
    return items if len(items) >= ground.ask.k else filled(ground, items)


def _ask(served: ServedAnswer) -> Ask:
    return question(
        served.visitor_id, served.surface, served.served_at_ms, len(served.slots), served.context
    )


def _derived(served: ServedAnswer, listed: _Listed, process: str) -> Prediction:
    return Prediction(
        prediction_id=derived_id("prediction", served.request_id, listed.policy),
        request_id=served.request_id,
        visitor_id=served.visitor_id,
        task=served.task,
        surface=served.surface,
        served_at_ms=served.served_at_ms,
        policy=listed.policy,
        arm=listed.arm,
        model_version=listed.model_version,
        weights_version=listed.weights_version,
        slots=listed.slots,
        session_id=served.session_id,
        derived_from=served.prediction_id,
        served_by=process,
    )
