"""What can only be said across label ages or arms: estimates, their errors, completeness, health.

A cohort is the answers of one policy, version and arm on one surface in one window; its early ages
are held against its final one. It closes nothing itself: `core/metrics.py` says when.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from core.completeness import OUTCOMES, Completeness
from core.intervals import wilson
from core.judgement import Judgement
from core.label_free import HitExpectation
from core.loop_health import Accounting, Bought, Health, novelty
from core.metric_cells import Cell, Figure, expected
from schemas.outcomes import BasketSeen, JoinCounts, JudgedList, LabelAge

LOOP = "loop"
ANY = "any"
ESTIMATED_AGE = "5m"


class CellKey(NamedTuple):
    """Whose figures, at which age, in which window."""

    window_start_ms: int
    surface: str
    policy: str
    model_version: str
    arm: str
    age: LabelAge


Keyed = tuple[CellKey, Figure]


class Cohorts(msgspec.Struct):
    """All of it as plain values: what is learned for good, and what waits for a window to close."""

    expectations: dict[str, HitExpectation] = {}
    estimated: dict[str, tuple[float, int]] = {}
    completeness: Completeness = msgspec.field(default_factory=Completeness)
    health: dict[int, dict[str, Health]] = {}
    accounts: dict[int, Accounting] = {}
    bought: Bought = msgspec.field(default_factory=Bought)

    def judged(self, key: CellKey, judged: JudgedList, verdict: Judgement | None) -> float | None:
        """Takes in one answer of the loop; the chance it hits, where it is too early to know."""
        if judged.age not in (ESTIMATED_AGE, "final"):
            return None
        surface = self.expectations.get(judged.surface)
        if surface is None:
            surface = self.expectations[judged.surface] = HitExpectation()
        if judged.age == ESTIMATED_AGE:
            return surface.expected(judged.scores) if judged.scores else None
        window = self.health.setdefault(key.window_start_ms, {})
        window.setdefault(judged.surface, Health()).add(judged)
        if verdict is not None and judged.scores and judged.arm != "fallback":
            surface.learn(judged.scores, judged.labels, verdict.hr10 > 0)
        return None

    def placed(self, record: BasketSeen | JoinCounts, window_start_ms: int) -> None:
        """Takes in one order, or what the join could not place."""
        self.accounts.setdefault(window_start_ms, Accounting()).add(record)
        if isinstance(record, BasketSeen):
            self.bought.add(record.item_ids, window_start_ms)

    def known(self, judged: JudgedList) -> float:
        """Share of final purchases known at this answer's age; 0 before any window matured."""
        if judged.age == "final":
            return 1.0
        early, final = self.completeness.share(
            judged.surface, judged.age, OUTCOMES.index("purchase")
        )
        return early / final if final else 0.0

    def early(self, key: CellKey, cell: Cell) -> Iterator[Figure]:
        """What an early cell says of the final figures to come."""
        if key.policy == LOOP and key.age != "final":
            yield from expected(cell)
            yield from self.completeness.corrected(key.surface, key.age, cell)

    def surprise(self, cell: Cell) -> list[Figure]:
        """Novelty of what a final cell has shown."""
        figure = novelty(cell.exposures, self.bought.total)
        return [] if figure is None else [figure]

    def closed(self, key: CellKey, cell: Cell) -> Iterator[Keyed]:
        """Keeps what a closing early cell knew; holds a closing final one against it."""
        if key.policy != LOOP:
            return
        cohort = "/".join(map(str, key[:-1]))
        if key.age != "final":
            self.completeness.early(cohort, key.age, cell)
            if cell.expected.n:
                self.estimated[cohort] = (cell.expected.total, cell.expected.n)
            return
        for age, figure in self.completeness.final(cohort, key.surface, cell):
            yield key._replace(age=age), figure
        total, n = self.estimated.pop(cohort, (0.0, 0))
        if n and cell.hr10.n:
            yield key, _error(total / n, cell)

    def healthy(self, window_start_ms: int) -> Iterator[Keyed]:
        """How the loop did in a window whose labels are all final."""
        for surface, health in sorted(self.health.pop(window_start_ms, {}).items()):
            key = CellKey(window_start_ms, surface, LOOP, ANY, ANY, "final")
            yield from ((key, figure) for figure in health.figures())

    def accounted(self, window_start_ms: int) -> Iterator[Keyed]:
        """What was not credited in a window that has passed."""
        key = CellKey(window_start_ms, ANY, LOOP, ANY, ANY, "final")
        figures = self.accounts.pop(window_start_ms).figures()
        yield from ((key, figure) for figure in figures)


def _error(estimate: float, cell: Cell) -> Figure:
    """Estimate less measured hit rate; its bounds are those of the measured one."""
    total, n = cell.hr10.total, cell.hr10.n
    low, high = wilson(total, n)
    return Figure("hr10_estimate_error", estimate - total / n, n, estimate - high, estimate - low)
