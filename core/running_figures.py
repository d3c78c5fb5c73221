"""Provisional rows at the age `now`, from the running totals of all visitor partitions.

A rate is said as soon as what it counts has grown, at most ten times a second, and every five
seconds while only answers were added. It is never closed: the label ages have the last word.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from core.cohorts import CellKey
from core.intervals import wilson
from core.metric_cells import Figure
from schemas.ids import derived_id
from schemas.metrics import Metric
from schemas.outcomes import Running

SOONEST_MS = 100
AT_REST_MS = 5_000
_RATES = {
    "hr10": ("hits", "judged"),
    "ctr": ("clicked", "answers"),
    "cart_rate": ("carted", "answers"),
    "purchase_rate": ("bought", "answers"),
}


class Said(msgspec.Struct):
    """What was last said of a cell: when by the wall clock, and each rate's two counts."""

    wall_ms: int = 0
    counts: dict[str, tuple[int, int]] = {}


class RunningFigures:
    """Totals by cell and visitor partition; the newest of a partition replaces its former one."""

    def __init__(self, task: str, window_ms: int, saved: list[Running] | None = None) -> None:
        self._task = task
        self._window_ms = window_ms
        self._totals: dict[CellKey, dict[int, Running]] = {}
        self._dirty: set[CellKey] = set()
        for total in saved or []:
            self.step(total)
        self._dirty.clear()
        self._said = {key: Said(counts=self._counts(key)) for key in self._totals}

    def step(self, total: Running) -> None:
        """Takes in one partition's totals; older ones than those known are left out."""
        key = CellKey(
            total.window_start_ms,
            total.surface,
            total.policy,
            total.model_version,
            total.arm,
            "now",
        )
        parts = self._totals.setdefault(key, {})
        known = parts.get(total.partition)
        if known is None or known.sequence < total.sequence:
            parts[total.partition] = total
            self._dirty.add(key)

    def say(self, wall_ms: int) -> list[Metric]:
        """The rows that are due."""
        records: list[Metric] = []
        for key in sorted(self._dirty):
            records.extend(self._say_one(key, wall_ms))
        if records:
            self._forget()
        return records

    def save(self) -> list[Running]:
        """The totals; what was said needs no keeping."""
        return [
            parts[number]
            for _, parts in sorted(self._totals.items(), key=lambda pair: pair[0])
            for number in sorted(parts)
        ]

    def _say_one(self, key: CellKey, wall_ms: int) -> Iterator[Metric]:
        said = self._said.setdefault(key, Said())
        waited_ms = wall_ms - said.wall_ms
        if 0 <= waited_ms < SOONEST_MS:
            return
        counts = self._counts(key)
        rest = not 0 <= waited_ms < AT_REST_MS
        for name, (grown, n) in counts.items():
            before = said.counts.get(name, (0, 0))
            if n and (grown != before[0] or (rest and n != before[1])):
                said.counts[name] = (grown, n)
                said.wall_ms = wall_ms
                yield self._record(key, Figure(name, grown / n, n, *wilson(grown, n)))
        if all(said.counts.get(name, (0, 0)) == pair for name, pair in counts.items()):
            self._dirty.discard(key)

    def _counts(self, key: CellKey) -> dict[str, tuple[int, int]]:
        parts = self._totals[key].values()
        return {
            name: (sum(getattr(p, above) for p in parts), sum(getattr(p, below) for p in parts))
            for name, (above, below) in _RATES.items()
        }

    def _record(self, key: CellKey, figure: Figure) -> Metric:
        revision = sum(part.sequence for part in self._totals[key].values())
        window = str(key.window_start_ms)
        return Metric(
            metric_id=derived_id(
                "metric", self._task, *key[1:], figure.name, window, str(revision)
            ),
            task=self._task,
            window_end_ms=key.window_start_ms + self._window_ms,
            name=figure.name,
            value=figure.value,
            n=figure.n,
            low=figure.low,
            high=figure.high,
            revision=revision,
            **key._asdict(),
        )

    def _forget(self) -> None:
        """Keeps the two newest windows."""
        oldest = max(key.window_start_ms for key in self._totals) - self._window_ms
        for key in [key for key in self._totals if key.window_start_ms < oldest]:
            del self._totals[key]
            self._said.pop(key, None)
            self._dirty.discard(key)
