"""The shop's live state as it stood at a place in the data, kept between trainings.

Applying all history costs half a millisecond an order, so the trainer goes on from where the last
training's data ended whenever what came before is still the same and the next hold-out begins
later: as a rule, for trainings are weeks apart. Else it begins anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.shop_state import ShopState
from trainer.recommend.data import CatalogueRow, ShopData


@dataclass
class Walk:
    """A state and how much of the data it has taken in."""

    state: ShopState = field(default_factory=ShopState)
    index: int = 0
    item_index: int = 0
    last_event_id: str = ""

    def advance(self, data: ShopData, items: Sequence[CatalogueRow], index: int) -> None:
        """Takes in the interactions before number `index`, and the catalogue as it was then."""
        for one in data.interactions[self.index : index]:
            while self.item_index < len(items) and items[self.item_index].at_ms <= one.at_ms:
                row = items[self.item_index]
                self.state.put_item(row.item_id, row.title, row.price, row.at_ms)
                self.item_index += 1
            self.state.apply(one.visitor_id, one.kind, one.item_ids, one.at_ms)
            self.last_event_id = one.event_id
        self.index = max(self.index, index)

    def leads_to(self, data: ShopData, index: int) -> bool:
        """Whether this walk took in the beginning of this data and not more than asked."""
        if self.index > index or self.index > len(data.interactions):
            return False
        last = data.interactions[self.index - 1].event_id if self.index else ""
        return last == self.last_event_id


class PastState:
    """Remembers one walk per trainer."""

    def __init__(self) -> None:
        self._walk = Walk()

    def before(self, data: ShopData, items: Sequence[CatalogueRow], index: int) -> Walk:
        """The walk, standing before interaction number `index`; it is the caller's to go on with.

        `items` is the catalogue as `items_in_order` gives it.
        """
        if not self._walk.leads_to(data, index):
            self._walk = Walk()
        self._walk.advance(data, items, index)
        return self._walk


def items_in_order(data: ShopData) -> list[CatalogueRow]:
    """Catalogue rows by the time they were said."""
    return sorted(data.items, key=lambda row: (row.at_ms, row.item_id))
