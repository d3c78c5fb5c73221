"""What an answer came to, and the records that say so.

A `Verdict` is the join's bare result; `outcome_of` and `judged_of` write it out for readers and for
the task stage. Computes no attribution.
"""

import msgspec

from core.features import FEATURE_NAMES, feature_schema_hash
from core.surfaces import wanted
from schemas.events import PurchaseMade
from schemas.ids import derived_id
from schemas.outcomes import BasketSeen, JudgedList, LabelAge, Outcome, SlotLabel
from schemas.predictions import PINNED_SOURCE, Prediction, Slot

CLICKS = frozenset({"select_item", "view_item"})
LEARNED_POLICY = "loop"


class Verdict(msgspec.Struct, frozen=True):
    """The labels of one answer as of some event time.

    `slots` is empty for an answer that was not shown: it is never credited, only compared with the
    basket. `liked` are items with positive explicit feedback. Unless it `learns`, its visitor has
    refused training: it is measured like any other and nothing is learned from it.
    """

    prediction_id: str
    slots: list[SlotLabel]
    basket: list[str]
    new_basket: list[str]
    liked: list[str] = []
    clicks: int = 0
    carts: int = 0
    age: LabelAge = "final"
    version: int = 0
    closed_at_ms: int = 0
    learns: bool = True


def corrected(before: Verdict, after: Verdict, version: int) -> Verdict:
    """`after` as a correction of `before`: slots that turned positive say so."""
    slots = [
        msgspec.structs.replace(new, state="corrected")
        if new.state == "positive" and old.state != "positive"
        else new
        for old, new in zip(before.slots, after.slots, strict=True)
    ]
    return msgspec.structs.replace(after, age="correction", version=version, slots=slots)


def outcome_of(prediction: Prediction, verdict: Verdict, outcome_id: str = "") -> Outcome:
    """The verdict for readers: topic `outcomes`; its id is derived where it is not given."""
    slots = verdict.slots or [
        SlotLabel(item_id=slot.item_id, position=slot.position, state="expired_negative")
        for slot in prediction.slots
    ]
    return Outcome(
        outcome_id=outcome_id or statement_id(verdict),
        prediction_id=verdict.prediction_id,
        request_id=prediction.request_id,
        visitor_id=prediction.visitor_id,
        task=prediction.task,
        surface=prediction.surface,
        policy=prediction.policy,
        arm=prediction.arm,
        model_version=prediction.model_version,
        weights_version=prediction.weights_version,
        served_at_ms=prediction.served_at_ms,
        age=verdict.age,
        version=verdict.version,
        closed_at_ms=verdict.closed_at_ms,
        slots=slots,
        basket=verdict.basket,
        new_basket=verdict.new_basket,
        session_id=prediction.session_id,
    )


def basket_of(event: PurchaseMade, task: str, surface: str, unattributed: int) -> BasketSeen:
    """An order for the task stage."""
    return BasketSeen(
        event_id=event.event_id,
        event_time_ms=event.event_time_ms,
        visitor_id=event.visitor_id,
        task=task,
        surface=surface,
        item_ids=list(dict.fromkeys(item.item_id for item in event.items)),
        unattributed=unattributed,
    )


def judged_of(
    prediction: Prediction,
    verdict: Verdict,
    judged_id: str = "",
    learned: frozenset[str] = frozenset({"final"}),
) -> JudgedList:
    """The verdict for the task stage: topic `slots`; features of the loop's at learned ages.

    Without features the online ranker learns nothing from it.
    """
    learn = verdict.age in learned and prediction.policy == LEARNED_POLICY
    considered = prediction.considered if learn else []
    shown = prediction.slots
    judged = [*shown, *considered] if considered else shown
    credited = [slot for slot in verdict.slots if slot.kind is not None]
    whole = learn and verdict.learns and _learnable(prediction, judged)
    return JudgedList(
        judged_id=judged_id or statement_id(verdict),
        prediction_id=verdict.prediction_id,
        request_id=prediction.request_id,
        visitor_id=prediction.visitor_id,
        task=prediction.task,
        surface=prediction.surface,
        policy=prediction.policy,
        arm=prediction.arm,
        model_version=prediction.model_version,
        weights_version=prediction.weights_version,
        served_at_ms=prediction.served_at_ms,
        closed_at_ms=verdict.closed_at_ms,
        age=verdict.age,
        version=verdict.version,
        item_ids=[slot.item_id for slot in shown],
        scores=[slot.score for slot in shown],
        labels=_labels(prediction, verdict, judged),
        propensities=[slot.propensity for slot in shown],
        considered=[slot.item_id for slot in considered],
        features=[slot.features for slot in judged] if whole else [],
        clicks=verdict.clicks,
        carts=verdict.carts,
        revenue=sum([slot.revenue for slot in credited]),
        basket=verdict.basket,
        new_basket=verdict.new_basket,
        latency_ms=prediction.latency_ms,
        degraded=prediction.degraded is not None,
        feature_schema=prediction.context.feature_schema if whole else "",
        by_token=sum([slot.attributed == "token" for slot in credited]),
        by_window=sum([slot.attributed == "window" for slot in credited]),
    )


def _labels(prediction: Prediction, verdict: Verdict, judged: list[Slot]) -> list[int]:
    counts = wanted(prediction.surface, verdict.basket, verdict.new_basket)
    good = {*counts, *verdict.liked}
    return [int(slot.item_id in good) for slot in judged] if good else [0] * len(judged)


def _learnable(prediction: Prediction, judged: list[Slot]) -> bool:
    """Whether the slots carry the features that the online ranker of this code knows.

    An item that stands where a rule pinned it carries none; the others are learned from.
    """
    if prediction.context.feature_schema != feature_schema_hash():
        return False
    bare = sum(not slot.features and slot.source == PINNED_SOURCE for slot in judged)
    known = sum(len(slot.features) == len(FEATURE_NAMES) for slot in judged)
    return known > 0 and known + bare == len(judged)


def statement_id(verdict: Verdict) -> str:
    """The id of a statement, the same whenever it is made again."""
    return derived_id("outcome", verdict.prediction_id, str(verdict.version))
