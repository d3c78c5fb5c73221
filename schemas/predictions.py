"""Questions (`requests`) and answers (`predictions`), whoever asked and however."""

from typing import Annotated, Literal

import msgspec

from schemas.events import Id, Millis, Query
from schemas.watermarks import Watermark

Arm = Literal["champion", "canary", "shadow", "control", "explore", "fallback"]
Surface = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]

SERVED_ARMS: frozenset[str] = frozenset({"champion", "canary", "explore", "fallback"})
BASELINES: tuple[str, ...] = ("popular_7d", "own_items", "also_bought")
SHADOW_POLICIES: tuple[str, ...] = (*BASELINES, "challenger", "control")


class RecommendRequest(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="recommend"
):
    """One question. `as_of_ms` is accepted in replay only: the event time it is asked at."""

    request_id: Id
    visitor_id: Id
    surface: Surface = "home"
    task: Id = "recommend"
    k: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
    session_id: Id | None = None
    exclude_item_ids: Annotated[list[Id], msgspec.Meta(max_length=1_000)] = []
    as_of_ms: Millis | None = None


class Slot(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One place of an answer; `features` is the snapshot in the order of the schema hash."""

    item_id: Id
    position: int
    score: float
    propensity: float = 1.0
    source: str = ""
    features: list[float] = []


class Context(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an answer was computed from: newest 50 history items (newest last) and the filters."""

    history: list[str] = []
    exclude_item_ids: list[str] = []
    feature_schema: str = ""
    seen_ms: Millis = 0


class Prediction(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="kind",
    tag="prediction",
):
    """One answer. `policy` is who ranked: loop, challenger, control or a baseline's name.

    A derived answer (challenger, control, baseline) shares `request_id` with the served one and
    names it in `derived_from`. `considered` holds candidates that were ranked and not shown, with
    their features, for learning.
    """

    prediction_id: Id
    request_id: Id
    visitor_id: Id
    task: Id
    surface: Surface
    served_at_ms: Millis
    policy: str
    arm: Arm
    model_version: str
    weights_version: str
    slots: list[Slot]
    considered: list[Slot] = []
    context: Context = Context()
    session_id: Id | None = None
    query: Query | None = None
    experiment_ids: list[str] = []
    degraded: str | None = None
    latency_ms: float = 0.0
    derived_from: Id | None = None
    served_by: str = ""


PredictionRecord = Prediction | Watermark
RequestRecord = RecommendRequest
