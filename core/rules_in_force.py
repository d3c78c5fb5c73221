"""The rules that hold on one surface at one time, compiled against the catalogue.

What a rule says of every item is kept by row, so that a request pays for a look-up. It knows no
requests.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.catalogue import CATEGORY_SEPARATOR, Catalogue, Rows
from core.row_masks import Bools, ByRow, Some, passing, selecting
from core.rules import AtMost, Boost, Bury, Exposure, Pin, Rule, Rules
from schemas.predictions import Filters

KEPT_SURFACES = 64
SEARCH = "search"


class CategoryHeads:
    """A group number per category: equal for those whose first `depth` parts are."""

    def __init__(self, depth: int | None) -> None:
        self._depth = depth
        self._numbers: dict[str, int] = {}
        self._groups: NDArray[np.int64] = np.zeros(0, np.int64)

    def of(self, catalogue: Catalogue, rows: Rows) -> list[int]:
        """The group of each row's item, -1 for an item without a category."""
        fresh = catalogue.categories[len(self._groups) :]
        if fresh:
            more = np.array([self._number(name) for name in fresh], np.int64)
            self._groups = np.concatenate([self._groups, more])
        found: list[int] = self._groups[catalogue.category[rows]].tolist()
        return found

    def _number(self, category: str) -> int:
        if not category:
            return -1
        head = CATEGORY_SEPARATOR.join(category.split(CATEGORY_SEPARATOR)[: self._depth])
        return self._numbers.setdefault(head, len(self._numbers))


class InForce:
    """What holds on a surface between two times; `rules` are those in force alone.

    >>> from core.rules import parse_rules
    >>> text = "[[block]]\\nitems = ['b']\\n[[bury]]\\nfactor = 2\\nprice_from = 5"
    >>> catalogue = Catalogue()
    >>> for item, price in (("a", 1.0), ("b", 1.0), ("c", 9.0)):
    ...     catalogue.put(catalogue.row(item), "", price, True)
    >>> now = InForce(parse_rules(text))
    >>> now.allowed(catalogue).tolist(), now.terms(catalogue, np.array([0, 2])).round(2).tolist()
    ([True, False, True], [0.0, -0.69])
    """

    def __init__(self, rules: Rules) -> None:
        self.pins: list[Pin] = rules.pin
        self.diversity = rules.diversity[0].value if rules.diversity else 0.0
        self.at_most: list[tuple[AtMost, CategoryHeads]] = [
            (rule, CategoryHeads(rule.depth)) for rule in rules.at_most
        ]
        self.exposure: list[Exposure] = rules.exposure
        self.required: list[Filters] = [rule.filters for rule in rules.require]
        self._allowed = _allowing(rules) if rules.block or rules.require else None
        shifts: list[Boost | Bury] = [*rules.boost, *rules.bury]
        self._terms = _shifting(shifts) if shifts else None

    @property
    def arranges(self) -> bool:
        """Whether anything but filters and diversity is in force."""
        return bool(self.pins or self.at_most or self.exposure or self._terms is not None)

    def allowed(self, catalogue: Catalogue) -> Bools | None:
        """Which items blocks and requirements let pass, shape (len(catalogue),); None for all."""
        return None if self._allowed is None else self._allowed.at(catalogue)

    def terms(self, catalogue: Catalogue, rows: Rows) -> NDArray[np.float64]:
        """What boosts and buries add to the log-odds of some rows, shape (len(rows),)."""
        if self._terms is None:
            return np.zeros(len(rows))
        return np.asarray(self._terms.at(catalogue)[rows], np.float64)


def in_force(rules: Rules, surface: str, now_ms: int) -> Rules:
    """The rules that hold on a surface at a time."""
    return Rules(
        **{
            kind: [rule for rule in getattr(rules, kind) if rule.holds(surface, now_ms)]
            for kind in Rules.__struct_fields__
        }
    )


def of_searches(rules: Rules) -> Rules:
    """The rules that hold for searches.

    What is about single items holds on all surfaces; what arranges a whole list only where its
    `surfaces` name searches: who asks for mugs wants mugs, however many alike.

    >>> from core.rules import parse_rules
    >>> rules = parse_rules("[[at_most]]\\ncount = 3\\n[[block]]\\nitems = ['a']")
    >>> held = of_searches(rules)
    >>> len(held.at_most), len(held.block)
    (0, 1)
    """
    return Rules(
        block=rules.block,
        require=rules.require,
        boost=rules.boost,
        bury=rules.bury,
        pin=[rule for rule in rules.pin if SEARCH in rule.surfaces],
        exposure=[rule for rule in rules.exposure if SEARCH in rule.surfaces],
        at_most=[rule for rule in rules.at_most if SEARCH in rule.surfaces],
        diversity=[rule for rule in rules.diversity if SEARCH in rule.surfaces],
    )


def unchanged_within(rules: Rules, now_ms: int) -> tuple[float, float]:
    """The span around a time in which no rule begins or ends, its end left out."""
    edges = [edge for rule in every_rule(rules) for edge in rule.span_ms]
    return (
        max((edge for edge in edges if edge <= now_ms), default=float("-inf")),
        min((edge for edge in edges if edge > now_ms), default=float("inf")),
    )


class RulesNow:
    r"""The rules in force by surface against one catalogue, compiled anew when one begins or ends.

    One owner, one thread.

    >>> from core.rules import parse_rules
    >>> now = RulesNow(parse_rules("[[pin]]\nitem = 'a'\nposition = 1\nsurfaces = ['home']"))
    >>> len(now.on("home", 0).pins), len(now.on("search", 0).pins)
    (1, 0)
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._compiled: dict[str, tuple[tuple[float, float], InForce]] = {}

    def __len__(self) -> int:
        """Surfaces that are kept."""
        return len(self._compiled)

    def on(self, surface: str, now_ms: int) -> InForce:
        """What holds on a surface at a time."""
        known = self._compiled.get(surface)
        if known is None or not known[0][0] <= now_ms < known[0][1]:
            rules = in_force(self._rules, surface, now_ms)
            known = unchanged_within(self._rules, now_ms), InForce(rules)
            if len(self._compiled) >= KEPT_SURFACES:  # callers name surfaces as they like
                self._compiled.clear()
            self._compiled[surface] = known
        return known[1]


def every_rule(rules: Rules) -> list[Rule]:
    """All rules of all kinds."""
    return [rule for kind in Rules.__struct_fields__ for rule in getattr(rules, kind)]


def _allowing(rules: Rules) -> ByRow:
    blocks = [selecting(rule) for rule in rules.block]
    requires = [passing(rule.filters) for rule in rules.require]

    def test(catalogue: Catalogue, rows: Some) -> Bools:
        allowed: Bools = np.ones_like(catalogue.listed[: len(catalogue)][rows])
        for passes in requires:
            allowed &= passes(catalogue, rows)
        for blocked in blocks:
            allowed &= ~blocked(catalogue, rows)
        return allowed

    return ByRow(test, np.bool_)


def _shifting(shifts: Sequence[Boost | Bury]) -> ByRow:
    tests = [
        (selecting(rule), float(np.log(rule.factor)) * (1 if isinstance(rule, Boost) else -1))
        for rule in shifts
    ]

    def test(catalogue: Catalogue, rows: Some) -> NDArray[np.float32]:
        found = np.zeros(len(catalogue.listed[: len(catalogue)][rows]), np.float32)
        for selected, term in tests:
            found += np.float32(term) * selected(catalogue, rows)
        return found

    return ByRow(test, np.float32)
