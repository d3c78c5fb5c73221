"""What crosses HTTP when an answer is explained: items, features and events that made it."""

import msgspec

from schemas.events import Millis


class EventGain(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How much higher the model scores an item because of one event of the history.

    `place` counts from the oldest, 0; the gain is in log-probability, by leaving the event out.
    """

    place: int
    item_id: str
    gain: float


class ExplainedItem(msgspec.Struct, frozen=True, kw_only=True):
    """Why an item stands where it stands.

    `features` and `bias` add up to the ranker's log-odds, `sources` sums features by where they
    come from; both are empty where the weights are not known any more, or nothing was weighed.
    """

    item_id: str
    position: int
    score: float
    propensity: float
    source: str
    bias: float
    features: dict[str, float]
    sources: dict[str, float]
    events: list[EventGain]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """One answer taken apart; `unsaid` names what could not be said, and why."""

    prediction_id: str
    request_id: str
    task: str
    surface: str
    served_at_ms: Millis
    policy: str
    arm: str
    model_version: str
    weights_version: str
    degraded: str | None
    history: list[str]
    items: list[ExplainedItem]
    unsaid: list[str]
