"""How much of the final outcome is known at an early label age, learned from matured windows.

A window's early counts are kept until its final ones come; their ratio over the newest matured
windows says what an early figure will grow to. It knows no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from core.intervals import Z95, wilson
from core.metric_cells import Cell, Figure
from schemas.outcomes import LabelAge

COHORTS = 28
_LEAST_FINAL = 20
OUTCOMES = ("click", "cart", "purchase")
"""What is counted: answers with at least one of each."""
_RATES = ("ctr", "cart_rate", "purchase_rate")


class Known(NamedTuple):
    """Answers of one window with a click, a cart or a purchase, at an early age and at last."""

    early: tuple[int, int, int]
    final: tuple[int, int, int]


class Completeness(msgspec.Struct):
    """Early counts that wait for their final ones, and the newest matured windows of each age.

    `waiting` is by cohort (window, surface, policy, version, arm), then by age; `matured` by
    "surface/age".
    """

    waiting: dict[str, dict[LabelAge, tuple[int, int, int]]] = {}
    matured: dict[str, list[Known]] = {}

    def early(self, cohort: str, age: LabelAge, cell: Cell) -> None:
        """Keeps what a window knew at an early age."""
        self.waiting.setdefault(cohort, {})[age] = _counts(cell)

    def final(self, cohort: str, surface: str, cell: Cell) -> Iterator[tuple[LabelAge, Figure]]:
        """Takes in the final counts; what each early age had known of them, by age."""
        final = _counts(cell)
        for age, early in sorted(self.waiting.pop(cohort, {}).items()):
            known = self.matured.setdefault(f"{surface}/{age}", [])
            known.append(Known(early, final))
            del known[:-COHORTS]
            for name, few, all_ in zip(OUTCOMES, early, final, strict=True):
                if all_:
                    yield age, _share(f"completeness_{name}", min(few, all_), all_)

    def share(self, surface: str, age: str, outcome: int) -> tuple[int, int]:
        """Known early, and known at last, over the matured windows (index into `OUTCOMES`)."""
        known = self.matured.get(f"{surface}/{age}", ())
        final = sum(each.final[outcome] for each in known)
        return min(sum(each.early[outcome] for each in known), final), final

    def corrected(self, surface: str, age: str, cell: Cell) -> Iterator[Figure]:
        """What the early rates of a cell will have grown to, where enough windows have matured."""
        for outcome, (rate, count) in enumerate(zip(_RATES, _counts(cell), strict=True)):
            early, final = self.share(surface, age, outcome)
            if early and final >= _LEAST_FINAL and cell.requests:
                yield corrected(f"{rate}_corrected", (count, cell.requests), (early, final))


def corrected(name: str, early: tuple[int, int], known: tuple[int, int]) -> Figure:
    """An early rate over the completeness of its age, with 95 % bounds.

    With r = a/n and c = b/m the value is r/c; the variance of its logarithm is
    (1−r)/a + (1−c)/b. Source: Katz, Baptista, Azen, Pike 1978, method C.

    >>> figure = corrected("ctr_corrected", early=(30, 1000), known=(60, 100))
    >>> tuple(round(x, 3) for x in (figure.value, figure.low, figure.high))
    (0.05, 0.034, 0.074)
    """
    (count, n), (few, all_) = early, known
    share = few / all_
    if not count:
        return Figure(name, 0.0, n, 0.0, min(1.0, wilson(0, n)[1] / share))
    value = min(1.0, count / n / share)
    spread = Z95 * math.sqrt((1 - count / n) / count + (1 - share) / few)
    return Figure(
        name, value, n, value * math.exp(-spread), min(1.0, count / n / share * math.exp(spread))
    )


def _counts(cell: Cell) -> tuple[int, int, int]:
    return cell.clicked, cell.carted, cell.bought


def _share(name: str, successes: int, n: int) -> Figure:
    return Figure(name, successes / n, n, *wilson(successes, n))
