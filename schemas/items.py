"""The catalogue: topic `items`, keyed by item_id, newest record wins."""

import msgspec

from schemas.events import Currency, Id, Millis, Price


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of the shop as it stands at `updated_at_ms`."""

    item_id: Id
    updated_at_ms: Millis
    title: str = ""
    description: str = ""
    category: str = ""
    price: Price | None = None
    currency: Currency | None = None
    available: bool = True
    language: str = "en"
