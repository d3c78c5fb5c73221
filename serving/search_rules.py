"""The shop's rules as they hold for searches, against the items that search knows.

The same rules as for lists, compiled for another catalogue and with counters of their own; which
of them hold is `of_searches` (`core/rules_in_force.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.catalogue import Catalogue, Rows
from core.exposure import Answer
from core.list_arranger import ListArranger, Pool
from core.row_masks import Bools
from core.rule_book import RuleBook
from core.rules_in_force import SEARCH, InForce, RulesNow, of_searches
from schemas.predictions import SearchRequest
from serving.rules_file import RulesFile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Wanted:
    """What rules and request want of one search; `pins` are places, counted from 0, by row."""

    name: str
    now: InForce
    allowed: Bools | None
    pins: dict[int, int]
    answer: Answer
    diversity: float
    arranger: ListArranger


@dataclass(frozen=True)
class Ruled:
    """What is wanted of candidates: rows and terms of shape (n,), pinned ones by their place.

    `exact` ones are those that the query names: they stand first.
    """

    terms: Floats = field(default_factory=lambda: np.zeros(0))
    pins: dict[int, int] = field(default_factory=dict)
    exact: frozenset[int] = frozenset()
    rows: Rows = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def pinned(self) -> frozenset[int]:
        """The candidates that are pinned."""
        return frozenset(self.pins.values())

    def fixed(self, order: list[int], k: int) -> dict[int, int]:
        """Candidates by the place that is theirs: pinned ones, and around them exact ones.

        >>> Ruled(pins={0: 7}, exact=frozenset({2, 4})).fixed([4, 2, 7, 1], 2)
        {0: 7, 1: 4}
        """
        pinned = self.pinned
        free = (place for place in range(k) if place not in self.pins)
        named = (at for at in order if at in self.exact and at not in pinned)
        return self.pins | dict(zip(free, named, strict=False))


class SearchRules:
    """Whoever asks holds the items' lock.

    Args:
        rules: the file in use; without one there are none.
    """

    def __init__(self, rules: RulesFile | None) -> None:
        self._file = rules
        self._book = rules.book if rules is not None else RuleBook()
        held = of_searches(self._book.rules)
        self._now, self._arranger = RulesNow(held), ListArranger(held)

    def wanted(self, catalogue: Catalogue, request: SearchRequest, now_ms: int) -> Wanted:
        """What is wanted of a search at a time, as the file is now."""
        if self._file is not None and self._file.book is not self._book:
            self._book = self._file.book
            held = of_searches(self._book.rules)
            self._now, self._arranger = RulesNow(held), self._arranger.followed_by(held)
        now = self._now.on(SEARCH, now_ms)
        allowed = now.allowed(catalogue)
        pins: dict[int, int] = {}
        for pin in now.pins:
            row = catalogue.row_of.get(pin.item)
            if row is not None and pin.position <= request.k:
                pins.setdefault(row, pin.position - 1)
        return Wanted(
            name=self._book.name,
            now=now,
            # The mask is brought up to date in place while this search goes on without the lock.
            allowed=None if allowed is None else allowed.copy(),
            pins=pins,
            answer=Answer(request.k, now_ms),
            diversity=request.diversity or now.diversity,
            arranger=self._arranger,
        )


def ruled(wanted: Wanted, catalogue: Catalogue, rows: list[int], exact: list[int]) -> Ruled:
    """What is wanted of the candidates in these rows, of which the query names some."""
    at = {row: place for place, row in enumerate(rows)}
    held = np.array(rows, np.int64)
    if wanted.diversity > 0:  # now, while the cross-encoder can still make do with less time
        wanted.arranger.prepare(catalogue, held)
    return Ruled(
        terms=wanted.now.terms(catalogue, held),
        pins={position: at[row] for row, position in wanted.pins.items() if row in at},
        exact=frozenset(at[row] for row in exact if row in at),
        rows=held,
    )


def shown(
    wanted: Wanted, ruled: Ruled, catalogue: Catalogue, order: list[int], odds: Floats
) -> list[int]:
    """The candidates to show, counted as shown: `order` has them best first, `odds` (n,) by each.

    Candidates that the query names count for limits and caps and are moved by neither, as pins.
    """
    answer, now = wanted.answer, wanted.now
    fixed = ruled.fixed(order, answer.shown)
    pool = Pool(ruled.rows, odds, order, fixed)
    found = wanted.arranger.arranged(now, catalogue, pool, answer, wanted.diversity)
    listed = found.order[: answer.shown]
    given = Answer(len(listed), answer.now_ms)
    wanted.arranger.served(now, catalogue, ruled.rows[listed], given)
    return listed
