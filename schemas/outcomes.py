"""What followed each answer: topic `outcomes` (for readers) and `slots` (for the task stage)."""

from typing import Literal

import msgspec

from schemas.events import Id, Millis
from schemas.predictions import Arm, Surface
from schemas.watermarks import Watermark

LabelAge = Literal["now", "5m", "1h", "24h", "final", "correction"]
"""How long after its answer a label was taken; `now` is a live count that no replay repeats."""

LabelState = Literal["pending", "positive", "expired_negative", "corrected", "retracted"]
Attributed = Literal["token", "window", "none"]


class SlotLabel(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The label of one slot; `kind` is the strongest interaction credited to it."""

    item_id: Id
    position: int
    state: LabelState = "pending"
    kind: str | None = None
    at_ms: Millis | None = None
    attributed: Attributed = "none"
    revenue: float = 0.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a shopper did within the window after one answer, at one label age.

    `basket` is the whole basket that followed, shown or not; `new_basket` its items that the
    shopper had not bought before the answer. `version` rises with every later statement about the
    same prediction, so that a reader keeps the greatest. Id: derived from (prediction_id, version).
    """

    outcome_id: Id
    prediction_id: Id
    request_id: Id
    visitor_id: Id
    task: Id
    surface: Surface
    policy: str
    arm: Arm
    model_version: str
    weights_version: str
    served_at_ms: Millis
    age: LabelAge
    version: int
    closed_at_ms: Millis
    slots: list[SlotLabel]
    basket: list[str] = []
    new_basket: list[str] = []
    session_id: Id | None = None


class JudgedList(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="judged"
):
    """One judged answer for the task stage, its slots as columns (internal topic `slots`).

    `labels[i]` is 1 when item i was bought (or otherwise positive) within the window. At the final
    age of a served answer (and at the one learned at) `features` holds a row per item of `item_ids`
    and then one per item of `considered`, whose labels follow in `labels` in the same order:
    len(labels) == len(item_ids) + len(considered) == len(features) where features are present. The
    row of an item that a rule pinned is empty: it is not learned from.
    `by_token` and `by_window` count credited slots by how they were; a classifier's answer carries
    the class it said and, once known, the true one.
    """

    judged_id: Id
    prediction_id: Id
    request_id: Id
    visitor_id: Id
    task: Id
    surface: Surface
    policy: str
    arm: Arm
    model_version: str
    weights_version: str
    served_at_ms: Millis
    closed_at_ms: Millis
    age: LabelAge
    version: int
    item_ids: list[str]
    scores: list[float]
    labels: list[int]
    propensities: list[float] = []
    considered: list[str] = []
    features: list[list[float]] = []
    clicks: int = 0
    carts: int = 0
    revenue: float = 0.0
    basket: list[str] = []
    new_basket: list[str] = []
    latency_ms: float = 0.0
    degraded: bool = False
    feature_schema: str = ""
    by_token: int = 0
    by_window: int = 0
    said_class: str = ""
    true_class: str = ""


class BasketSeen(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="basket"
):
    """One order as the task stage needs it for input drift: its items, attributed or not.

    `unattributed` counts those of them that no answer within the window had shown.
    """

    event_id: Id
    event_time_ms: Millis
    visitor_id: Id
    task: Id
    surface: Surface
    item_ids: list[str]
    unattributed: int = 0


class JoinCounts(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="counts"
):
    """What the join could not place up to one closed event time on one visitor partition.

    Id: derived from (partition, event_time_ms).
    """

    counts_id: Id
    task: Id
    event_time_ms: Millis
    orphans: int = 0
    late_answers: int = 0


class Running(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="running"
):
    """Totals so far of the answers given in one window, as one visitor partition has seen them.

    Live time only. Later totals of the same partition replace earlier ones, so `sequence` rises
    with each. `judged` counts answers that a purchase followed, `hits` those whose list had one of
    its items.
    """

    task: Id
    surface: Surface
    policy: str
    model_version: str
    arm: Arm
    window_start_ms: Millis
    partition: int
    sequence: int
    answers: int
    clicked: int = 0
    carted: int = 0
    bought: int = 0
    judged: int = 0
    hits: int = 0


class HourSeen(msgspec.Struct, frozen=True, array_like=True):
    """What one hour of event time had on one visitor partition; `hour` counts since the epoch.

    Events are those that labels follow from, answers those served on the first surface.
    """

    hour: int
    events: int = 0
    answers: int = 0
    refused: int = 0


class TrafficSeen(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="traffic"
):
    """Hours before `until_hour` are over on a visitor partition; those not listed were empty.

    `bursts` maps visitors who did too much within a minute to how much. Id: derived from
    (partition, event_time_ms, what it says).
    """

    traffic_id: Id
    event_time_ms: Millis
    task: Id
    partition: int
    until_hour: int
    hours: list[HourSeen] = []
    bursts: dict[str, int] = {}


class JudgedBatch(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="batch"
):
    """What one batch of inputs brought about, in order: a record each would cost more than it."""

    entries: list[JudgedList | BasketSeen | JoinCounts | TrafficSeen | Running]


SlotRecord = JudgedList | BasketSeen | JoinCounts | TrafficSeen | Running | JudgedBatch | Watermark
