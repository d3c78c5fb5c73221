"""Questions (`requests`) and answers (`predictions`), whoever asked and however."""

from typing import Annotated, Literal

import msgspec

from schemas.events import Id, Millis, Price, Query
from schemas.watermarks import Watermark

Arm = Literal["champion", "canary", "shadow", "control", "explore", "fallback"]
Surface = Annotated[str, msgspec.Meta(pattern="^[a-z][a-z0-9_]{0,31}$")]

SERVED_ARMS: frozenset[str] = frozenset({"champion", "canary", "explore", "fallback"})
BASELINES: tuple[str, ...] = ("popular_7d", "own_items", "also_bought")
PINNED_SOURCE = "pin"
SHADOW_POLICIES: tuple[str, ...] = (*BASELINES, "challenger", "control")


class Filters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which items an answer may hold; an item without a price passes no price band.

    `categories` lets items of any of them pass, with those below them (`Home/Kitchen` is below
    `Home`); none named lets all pass. Prices are in the shop's currency, both ends included.
    """

    categories: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    excluded_categories: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    price_from: Price | None = None
    price_to: Price | None = None
    in_stock_only: bool = True


def check_band(filters: Filters | None) -> None:
    """Refuses a band that holds no price, in questions: of former answers any is to be read.

    >>> check_band(Filters(price_from=20.0, price_to=5.0))
    Traceback (most recent call last):
    ValueError: no price lies from 20 to 5
    """
    if filters is None or filters.price_from is None or filters.price_to is None:
        return
    if filters.price_from > filters.price_to:
        raise ValueError(f"no price lies from {filters.price_from:g} to {filters.price_to:g}")


Count = Annotated[int, msgspec.Meta(ge=1, le=100)]
ItemIds = Annotated[list[Id], msgspec.Meta(max_length=1_000)]
Diversity = Annotated[float, msgspec.Meta(ge=0, le=1)]
DeadlineMs = Annotated[int, msgspec.Meta(ge=1, le=60_000)]


class RecommendRequest(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="recommend"
):
    """One question. `as_of_ms` is accepted in replay only: the event time it is asked at.

    `candidate_item_ids`, where given, are all that may be listed: they are ranked again.
    `history_item_ids` (newest last) stands in for what is known of the visitor: for a session that
    nobody may remember. `diversity` from 0 to 1 trades relevance for items unlike each other. An
    answer that cannot be given within `deadline_ms` is not given.
    """

    request_id: Id
    visitor_id: Id
    surface: Surface = "home"
    task: Id = "recommend"
    k: Count = 10
    session_id: Id | None = None
    exclude_item_ids: ItemIds = []
    as_of_ms: Millis | None = None
    candidate_item_ids: ItemIds = []
    history_item_ids: Annotated[list[Id], msgspec.Meta(max_length=200)] | None = None
    filters: Filters | None = None
    diversity: Diversity = 0.0
    deadline_ms: DeadlineMs | None = None

    def __post_init__(self) -> None:
        """Refuses a band that holds no price."""
        check_band(self.filters)


class SimilarRequest(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="similar"
):
    """What goes with, or in place of, one item: for the page of that item."""

    request_id: Id
    visitor_id: Id
    item_id: Id
    task: Id = "recommend"
    k: Count = 10
    session_id: Id | None = None
    exclude_item_ids: ItemIds = []
    as_of_ms: Millis | None = None
    filters: Filters | None = None
    deadline_ms: DeadlineMs | None = None

    def __post_init__(self) -> None:
        """Refuses a band that holds no price."""
        check_band(self.filters)


class SearchRequest(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="search"
):
    """Items for words. Personal data in the words is taken out before they are logged.

    `diversity` is as of recommendations.
    """

    request_id: Id
    visitor_id: Id
    query: Query
    task: Id = "search"
    k: Count = 10
    session_id: Id | None = None
    exclude_item_ids: ItemIds = []
    as_of_ms: Millis | None = None
    filters: Filters | None = None
    diversity: Diversity = 0.0
    deadline_ms: DeadlineMs | None = None

    def __post_init__(self) -> None:
        """Refuses a band that holds no price."""
        check_band(self.filters)


class ClassifyRequest(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind", tag="classify"
):
    """A text to be given labels, or a number, by the newest version of a text task."""

    request_id: Id
    visitor_id: Id
    task: Id
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=10_000)]
    pair: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    k: Count = 5
    session_id: Id | None = None
    as_of_ms: Millis | None = None
    deadline_ms: DeadlineMs | None = None


class Label(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One label of a text with its calibrated probability."""

    label: str
    score: float


class Slot(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One place of an answer; `features` is the snapshot in the order of the schema hash.

    What a rule pinned has the source `pin` and no features: it is not learned from.
    """

    item_id: Id
    position: int
    score: float
    propensity: float = 1.0
    source: str = ""
    features: list[float] = []


class Context(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an answer was computed from: newest 50 history items (newest last) and the filters.

    `history_given` says that the request brought the history; `item_id` is the item that similar
    ones were asked for; `rules` names the shop's rules in force; `corrected_query` is what was
    searched for in place of words that no item has. `diversity` is what the request wants; of a
    search, what the rules want where the request wants none.
    """

    history: list[str] = []
    exclude_item_ids: list[str] = []
    feature_schema: str = ""
    seen_ms: Millis = 0
    history_given: bool = False
    candidate_item_ids: list[str] = []
    filters: Filters | None = None
    diversity: float = 0.0
    item_id: str = ""
    rules: str = ""
    corrected_query: str = ""


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
    their features, for learning. A text's answer has `labels`, or the number `value`, and no slots.
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
    labels: list[Label] = []
    value: float | None = None


PredictionRecord = Prediction | Watermark
RequestRecord = RecommendRequest | SimilarRequest | SearchRequest | ClassifyRequest
