"""The catalogue: topic `items`, keyed by item_id, newest record wins."""

from typing import Annotated

import msgspec

from schemas.events import Currency, Id, Millis, Price

Related = Annotated[list[Id], msgspec.Meta(max_length=200)]


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of the shop as it stands at `updated_at_ms`.

    `stock` is how many there are, None where the shop does not say. `compatible_with` names items
    that go with this one (a lid for a jar), `substitute_of` those it can stand in for.
    """

    item_id: Id
    updated_at_ms: Millis
    title: str = ""
    description: str = ""
    category: str = ""
    price: Price | None = None
    currency: Currency | None = None
    available: bool = True
    language: str = "en"
    stock: Annotated[int, msgspec.Meta(ge=0)] | None = None
    compatible_with: Related = []
    substitute_of: Related = []
