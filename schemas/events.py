"""What shoppers did: topics `events` (as the shop writes them) and `events.valid` (after intake).

Names are GA4's (https://developers.google.com/analytics/devguides/collection/ga4/reference/events).
Event time is UTC epoch milliseconds. Field rules beyond types live here as msgspec constraints, so
that decoding validates; rules that need more than one field live in `core/intake.py`.
"""

from typing import Annotated

import msgspec

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=4_102_444_800_000)]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Price = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Query = Annotated[str, msgspec.Meta(max_length=1_000)]
Address = Annotated[str, msgspec.Meta(max_length=64)]
Agent = Annotated[str, msgspec.Meta(max_length=1_024)]
Currency = Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]


class EventItem(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One item of an event; `source_id` names the line it came from in the shop's own log."""

    item_id: Id
    quantity: Quantity = 1
    price: Price | None = None
    prediction_id: Id | None = None
    source_id: Id | None = None


Items = Annotated[list[EventItem], msgspec.Meta(min_length=1, max_length=2_000)]


class Consent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the shopper allows; what is not said is allowed.

    Without `training` no model learns from the event; without `personalisation` it does not enter
    the shopper's history either, and the history held so far is dropped.
    """

    training: bool = True
    personalisation: bool = True


class Formerly(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The pseudonyms of the same ids under earlier keys, oldest first; written by intake alone."""

    visitor_ids: list[Id] = []
    user_ids: list[Id] = []
    session_ids: list[Id] = []


class EventHead(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event_name"
):
    """What every event carries.

    `user_id` is the shop's own account, known after a login. `ip` and `user_agent` leave intake
    coarse: a network, a browser family with its major version.
    """

    event_id: Id
    event_time_ms: Millis
    visitor_id: Id
    session_id: Id | None = None
    surface: Id | None = None
    prediction_id: Id | None = None
    request_id: Id | None = None
    user_id: Id | None = None
    consent: Consent | None = None
    ip: Address | None = None
    user_agent: Agent | None = None
    formerly: Formerly | None = None


class ItemListViewed(
    EventHead, frozen=True, kw_only=True, omit_defaults=True, tag="view_item_list"
):
    """A list was shown to the shopper."""

    items: Items


class ItemSelected(EventHead, frozen=True, kw_only=True, omit_defaults=True, tag="select_item"):
    """An item of a list was clicked."""

    items: Items


class ItemViewed(EventHead, frozen=True, kw_only=True, omit_defaults=True, tag="view_item"):
    """An item's page was seen."""

    items: Items


class CartAdded(EventHead, frozen=True, kw_only=True, omit_defaults=True, tag="add_to_cart"):
    """Items were put into the cart."""

    items: Items


class Favourited(EventHead, frozen=True, kw_only=True, omit_defaults=True, tag="add_to_wishlist"):
    """Items were put on the wish list."""

    items: Items


class PurchaseMade(EventHead, frozen=True, kw_only=True, omit_defaults=True, tag="purchase"):
    """An order was placed; `value` is its total in `currency`."""

    transaction_id: Id
    items: Items
    value: Price | None = None
    currency: Currency | None = None


class RefundMade(EventHead, frozen=True, kw_only=True, omit_defaults=True, tag="refund"):
    """Items of an order came back; quantities are positive."""

    transaction_id: Id
    items: Items
    currency: Currency | None = None


class Searched(EventHead, frozen=True, kw_only=True, omit_defaults=True, tag="search"):
    """A search was made."""

    query: Query


class FeedbackGiven(EventHead, frozen=True, kw_only=True, omit_defaults=True, tag="feedback"):
    """An explicit verdict on one answer: `verdict` in [-1, 1], on one item or on the whole list."""

    verdict: Annotated[float, msgspec.Meta(ge=-1, le=1)]
    item_id: Id | None = None


class EventWatermark(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="event_name", tag="watermark"
):
    """Replay's barrier on `events` and `events.valid`: see `schemas.watermarks.Watermark`."""

    event_time_ms: Millis
    barrier: int
    run_id: Id
    final: bool = False


ShopEvent = (
    ItemListViewed
    | ItemSelected
    | ItemViewed
    | CartAdded
    | Favourited
    | PurchaseMade
    | RefundMade
    | Searched
    | FeedbackGiven
)
ItemEvent = (
    ItemListViewed | ItemSelected | ItemViewed | CartAdded | Favourited | PurchaseMade | RefundMade
)
EventRecord = ShopEvent | EventWatermark

EVENT_NAMES: tuple[str, ...] = (
    "view_item_list",
    "select_item",
    "view_item",
    "add_to_cart",
    "add_to_wishlist",
    "purchase",
    "refund",
    "search",
    "feedback",
)
