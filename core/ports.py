"""What the pure core is given by others, as the shortest protocol that says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.candidates import Ask, Ground
from core.catalogue import Rows
from core.ranking import Ranked
from core.shop_state import ShopState


class ShopRules(Protocol):
    """What the shop wants of every answer, and what a request wants beyond its shopper's taste.

    The filters and the diversity of one request are in its `Ask`.
    """

    @property
    def name(self) -> str:
        """Names the rules in force; it is logged with every answer."""

    def allowed(self, state: ShopState, ask: Ask) -> NDArray[np.bool_] | None:
        """Which catalogue rows may be shown, shape (len(catalogue),); None when all may."""

    def brought(self, ground: Ground) -> Mapping[int, Rows]:
        """Rows to be candidates beside what the sources bring, by the bit of their source."""

    def reordered(self, ground: Ground, order: Ranked) -> Ranked:
        """The order as it is to be shown; the features of a candidate stay what they were."""

    def served(self, state: ShopState, ask: Ask, item_ids: Sequence[str]) -> None:
        """Takes note of one answer that was given."""
