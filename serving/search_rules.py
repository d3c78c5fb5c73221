"""The shop's rules as they hold for searches, against the items that search knows.

The same rules as for lists (`core/rules_in_force.py`), compiled for another catalogue: blocks and
requirements, boosts and buries, and pins that name the surface. Limits of exposure, at most so many
of a category, and diversity are for lists alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.arranging import arranged
from core.catalogue import Catalogue
from core.row_masks import Bools
from core.rule_book import RuleBook
from core.rules_in_force import InForce, RulesNow
from serving.rules_file import RulesFile

SURFACE = "search"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Wanted:
    """What the rules want of one search; `pins` are places, counted from 0, by row."""

    name: str
    now: InForce
    allowed: Bools | None
    pins: dict[int, int]


@dataclass(frozen=True)
class Ruled:
    """What the rules say of candidates: terms shape (n,), candidates by the place of their pin."""

    name: str = ""
    terms: Floats = field(default_factory=lambda: np.zeros(0))
    pins: dict[int, int] = field(default_factory=dict)

    def arranged(self, order: list[int], k: int) -> list[int]:
        """Candidates, best first, with the pinned ones in their places."""
        if not self.pins:
            return order
        free = [place for place in order if place not in self.pinned]
        return arranged([*self.pinned, *free], k, self.pins, []).order

    @property
    def pinned(self) -> frozenset[int]:
        """The candidates that are pinned."""
        return frozenset(self.pins.values())


class SearchRules:
    """Whoever asks holds the items' lock.

    Args:
        rules: the file in use; without one there are none.
    """

    def __init__(self, rules: RulesFile | None) -> None:
        self._file = rules
        self._book = rules.book if rules is not None else RuleBook()
        self._now = RulesNow(self._book.rules)

    def wanted(self, catalogue: Catalogue, now_ms: int, k: int) -> Wanted:
        """What is wanted of a search for k items at a time, as the file is now."""
        if self._file is not None and self._file.book is not self._book:
            self._book = self._file.book
            self._now = RulesNow(self._book.rules)
        now = self._now.on(SURFACE, now_ms)
        allowed = now.allowed(catalogue)
        pins: dict[int, int] = {}
        for pin in now.pins:
            row = catalogue.row_of.get(pin.item)
            if SURFACE in pin.surfaces and row is not None and pin.position <= k:
                pins.setdefault(row, pin.position - 1)
        # The mask is brought up to date in place while this search goes on without the lock.
        return Wanted(self._book.name, now, None if allowed is None else allowed.copy(), pins)


def ruled(wanted: Wanted, catalogue: Catalogue, rows: list[int]) -> Ruled:
    """What is wanted of these candidates."""
    at = {row: place for place, row in enumerate(rows)}
    pins = {position: at[row] for row, position in wanted.pins.items() if row in at}
    return Ruled(wanted.name, wanted.now.terms(catalogue, np.array(rows, np.int64)), pins)
