"""One answer taken apart: what each item's score is made of, under the weights it was ranked with.

The features are those that were logged when it was served; only the place is set to the first,
where every item is scored. Knows no store and no model: gains of events are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.explain import contributions
from core.features import POSITION
from core.ranking import RankerWeights
from schemas.http_explained import EventGain, ExplainedItem, Explanation
from schemas.predictions import Prediction, Slot

NO_WEIGHTS = "the ranker weights are not known any more"
NOT_RANKED = "no ranker had a say in this answer"
NOT_LOGGED = "no model had a say in this answer: its features were not logged"


def explanation(
    prediction: Prediction,
    weights: RankerWeights | None,
    gains: Mapping[str, Sequence[EventGain]],
    unsaid: Sequence[str] = (),
) -> Explanation:
    """The answer with every item's contributions.

    Args:
        prediction: as it was logged.
        weights: those it was ranked with, None when they are not known.
        gains: item id → what each event of the history adds; empty where no model can say.
        unsaid: what else could not be said, and why.
    """
    missing = list(unsaid)
    if not prediction.weights_version:
        missing.append(NOT_RANKED)
    elif prediction.arm == "fallback":
        missing.append(NOT_LOGGED)
    elif weights is None:
        missing.append(NO_WEIGHTS)
    return Explanation(
        prediction_id=prediction.prediction_id,
        request_id=prediction.request_id,
        task=prediction.task,
        surface=prediction.surface,
        served_at_ms=prediction.served_at_ms,
        policy=prediction.policy,
        arm=prediction.arm,
        model_version=prediction.model_version,
        weights_version=prediction.weights_version,
        degraded=prediction.degraded,
        history=prediction.context.history,
        items=[_item(slot, weights, gains.get(slot.item_id, ())) for slot in prediction.slots],
        unsaid=missing,
    )


def _item(slot: Slot, weights: RankerWeights | None, gains: Sequence[EventGain]) -> ExplainedItem:
    bias, features, sources = 0.0, dict[str, float](), dict[str, float]()
    if weights is not None and len(slot.features) == len(weights.names):
        snapshot = list(slot.features)
        snapshot[POSITION] = 0.0
        found = contributions(snapshot, weights.coef.tolist(), weights.names, weights.bias)
        bias, features, sources = found.bias, found.features, found.sources
    return ExplainedItem(
        item_id=slot.item_id,
        position=slot.position,
        score=slot.score,
        propensity=slot.propensity,
        source=slot.source,
        bias=bias,
        features=features,
        sources=sources,
        events=list(gains),
    )
