"""From candidates with their odds to the list that the rules in force want, whatever the list is.

Those over a limit of exposure move behind, diversity chooses among the best, then at most so many
of a category. It knows no requests, visitors or queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.arranging import REACH, Arrangement, Cap, arranged
from core.catalogue import Catalogue, Rows
from core.diversity import ItemLikeness, mmr
from core.exposure import Answer, HourlyLimit, Limit, ShareLimit
from core.row_masks import Bools, ByRow, selecting
from core.rules import Exposure, Rules
from core.rules_in_force import InForce

DIVERSE_POOL = 100
"""How many of the best candidates diversity may choose among."""

Floats = NDArray[np.float64]
_ALL = np.zeros(1, np.int64)  # the one key of a limit that items share


@dataclass(frozen=True)
class Pool:
    """Candidates of one list: catalogue rows and log-odds with boosts, each of shape (n,).

    `order` has all of them, best first. `fixed` says which stands in which place, counted from 0:
    these count for limits and caps and are moved by neither.
    """

    rows: Rows
    odds: Floats
    order: Sequence[int]
    fixed: Mapping[int, int]


class ListArranger:
    """Counters of exposure, and what is known of how alike items are. One owner, one thread.

    Args:
        rules: every rule that may be in force in a list to arrange.
        limits: whether exposure is limited; a shadow, whose lists nobody sees, limits none.
    """

    def __init__(self, rules: Rules, *, limits: bool = True) -> None:
        self._rules = rules
        self._limits = _Limits(rules.exposure) if limits else None
        self._likeness = ItemLikeness()

    def followed_by(self, rules: Rules) -> ListArranger:
        """The arranger of new rules; a limit of exposure that stays the same goes on counting."""
        found = ListArranger(rules, limits=False)
        if self._limits is not None:
            found._limits = _Limits(rules.exposure, self._limits)
        found._likeness = self._likeness
        return found

    def begin_anew(self) -> None:
        """Forgets what was counted: another catalogue has other rows."""
        if self._limits is not None:
            self._limits = _Limits(self._rules.exposure)

    def prepare(self, catalogue: Catalogue, rows: Rows) -> None:
        """Learns what diversity wants to know of candidates before their order is known."""
        self._likeness.learn(catalogue, rows)

    def arranged(
        self, now: InForce, catalogue: Catalogue, pool: Pool, answer: Answer, diversity: float
    ) -> Arrangement:
        """All candidates as they are to be shown in an answer of `answer.shown` items.

        >>> from core.rules import parse_rules
        >>> rules = parse_rules("[[at_most]]\\ncount = 1")
        >>> shop = Catalogue()
        >>> for name, category in (("a", "Cups"), ("b", "Cups"), ("c", "Lamps")):
        ...     shop.put(shop.row(name), name, None, True, category=category)
        >>> pool = Pool(np.arange(3), np.array([2.0, 1.0, 0.0]), [0, 1, 2], {})
        >>> ListArranger(rules).arranged(InForce(rules), shop, pool, Answer(2, 0), 0.0).order
        [0, 2, 1]
        """
        over, caps = self._caps(now, catalogue, pool.rows, answer)
        fixed = set(pool.fixed.values())
        free = [candidate for candidate in pool.order if candidate not in fixed]
        behind: list[int] = []
        if over.any():
            beyond = over.tolist()
            behind = [candidate for candidate in free if beyond[candidate]]
            free = [candidate for candidate in free if not beyond[candidate]]
            caps.append(_capped(over, 0))
        if diversity > 0:
            best = free[:DIVERSE_POOL]
            likeness = self._likeness.matrix(catalogue, pool.rows[best])
            picked = mmr(pool.odds[best], likeness, diversity, answer.shown + REACH)
            free = [best[at] for at in picked] + free[DIVERSE_POOL:]
        return arranged([*fixed, *free, *behind], answer.shown, pool.fixed, caps)

    def served(self, now: InForce, catalogue: Catalogue, rows: Rows, answer: Answer) -> None:
        """Counts one answer that was given, for the limits of exposure."""
        if self._limits is not None:
            for rule in now.exposure:
                self._limits.add(rule, catalogue, rows, answer)

    def _caps(
        self, now: InForce, catalogue: Catalogue, rows: Rows, answer: Answer
    ) -> tuple[Bools, list[Cap]]:
        """Which candidates are over a limit for themselves, and how many of each group may be."""
        caps = [Cap(heads.of(catalogue, rows), rule.count) for rule, heads in now.at_most]
        over: Bools = np.zeros(len(rows), np.bool_)
        if self._limits is not None:
            for rule in now.exposure:
                members, room = self._limits.room(rule, catalogue, rows, answer)
                if rule.each_item:
                    over |= members & (room < 1)
                else:
                    caps.append(_capped(members, int(room[0])))
        return over, caps


class _Limited(NamedTuple):
    """A rule with what it has counted and the items that it is about."""

    rule: Exposure
    limit: Limit
    members: ByRow


class _Limits:
    """A counter and a mask per limit of exposure."""

    def __init__(self, rules: Sequence[Exposure], former: _Limits | None = None) -> None:
        known = former._known if former is not None else []
        self._known: list[_Limited] = [
            next((one for one in known if one.rule == rule), None)
            or _Limited(rule, _limit(rule), ByRow(selecting(rule), np.bool_))
            for rule in rules
        ]

    def _of(self, rule: Exposure) -> _Limited:
        return next(one for one in self._known if one.rule == rule)

    def room(
        self, rule: Exposure, catalogue: Catalogue, rows: Rows, answer: Answer
    ) -> tuple[Bools, Floats]:
        """Which rows it is about, and how many more of each, or of all, may be shown."""
        known = self._of(rule)
        inside = known.members.at(catalogue)[rows]
        return inside, known.limit.room(rows if rule.each_item else _ALL, answer)

    def add(self, rule: Exposure, catalogue: Catalogue, rows: Rows, answer: Answer) -> None:
        known = self._of(rule)
        inside = rows[known.members.at(catalogue)[rows]]
        known.limit.add(inside if rule.each_item else np.zeros(len(inside), np.int64), answer)


def _capped(members: Bools, most: int) -> Cap:
    return Cap(np.where(members, 0, -1).tolist(), most)


def _limit(rule: Exposure) -> Limit:
    if rule.share is not None:
        return ShareLimit(rule.share, rule.window)
    return HourlyLimit(rule.per_hour or 1)
