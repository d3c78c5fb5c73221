"""Windowed measures: judged lists in, `Metric` records out, one event-time window at a time.

A window is the day (or `metric_window_ms`) an answer was given in; its figures at one label age
are final once that age has passed for its last answer. Ages never mix. Only answers that
were served are followed at the early ages; derived ones get three figures when a window closes.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from core.cohorts import LOOP as LOOP
from core.cohorts import CellKey, Cohorts, Keyed
from core.intervals import auc_interval
from core.judgement import Judgement, judge, target
from core.metric_cells import Cell, Figure, classified, probability, quality, response, service
from core.rolling_auc import AUC_SLOTS as AUC_SLOTS
from core.rolling_auc import RollingAuc
from core.settings import HOUR_MS, Settings
from schemas.ids import derived_id
from schemas.metrics import Metric
from schemas.outcomes import BasketSeen, JoinCounts, JudgedList, LabelAge
from schemas.predictions import SERVED_ARMS

_FOREVER_MS = 1 << 62
LIVE_REVISION_MS = 1_000
_QUALITY = ("hr5", "hr10", "recall10", "ndcg10", "mrr10")
_DERIVED_QUALITY = ("hr10", "recall10", "ndcg10")
_PROVISIONAL = {"hr10", "ndcg10", "ctr", "hr10_estimated", "purchase_rate_corrected"}


class OpenCell(msgspec.Struct):
    """A cell with what was last said about it."""

    cell: Cell = msgspec.field(default_factory=Cell)
    revision: int = 0
    dirty: bool = False


class SavedMetrics(msgspec.Struct):
    """Everything that is needed to go on exactly."""

    cells: list[tuple[CellKey, OpenCell]]
    auc: list[tuple[str, list[tuple[int, float]]]]
    closed_ms: int
    revised_ms: int
    revised_wall_ms: int
    late: int
    cohorts: Cohorts = msgspec.field(default_factory=Cohorts)


class Metrics:
    """All open windows of one task; `late` counts lists whose window had closed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.late = 0
        self.cohorts = Cohorts()
        self._cells: dict[CellKey, OpenCell] = {}
        self._auc: dict[str, RollingAuc] = {}
        self._closed_ms = 0
        self.next_close_ms = _FOREVER_MS
        self._revised_ms = 0
        self._revised_wall_ms = 0

    def step(self, judged: JudgedList, verdict: Judgement | None) -> None:
        """Adds one judged list to its window; corrections are not measured."""
        served = judged.arm in SERVED_ARMS
        if judged.age == "correction" or (not served and judged.age != "final"):
            return
        start = self._window_of(judged.served_at_ms)
        if self._closes_at(start, judged.age) <= self._closed_ms:
            self.late += 1
            return
        key = CellKey(
            start, judged.surface, judged.policy, judged.model_version, judged.arm, judged.age
        )
        entry = self._cells.get(key)
        if entry is None:
            entry = self._cells[key] = OpenCell()
            self.next_close_ms = min(self.next_close_ms, self._closes_at(start, judged.age))
        entry.dirty = True
        self._fill(entry.cell, judged, verdict, served)
        if served and judged.policy == LOOP:
            chance = self.cohorts.judged(key, judged, verdict)
            if chance is not None:
                entry.cell.expected.add(chance)

    def placed(self, record: BasketSeen | JoinCounts) -> None:
        """Adds one order, or what the join could not place, to the window it was made in."""
        start = self._window_of(record.event_time_ms)
        if start + self.settings.metric_window_ms > self._closed_ms:
            self.cohorts.placed(record, start)

    def close(self, watermark_ms: int, wall_ms: int, catalogue_size: int) -> list[Metric]:
        """Final figures of windows that the watermark closed, provisional ones of the others.

        Provisional figures come at most once per hour of event time, or while event time follows
        the wall clock once a second.
        """
        records = self.close_windows(watermark_ms, catalogue_size)
        if self._due(watermark_ms, wall_ms):
            self._revised_ms, self._revised_wall_ms = watermark_ms, wall_ms
            for key in sorted(k for k, entry in self._cells.items() if entry.dirty):
                if key.arm in SERVED_ARMS:
                    records.extend(self._provisional(key, self._cells[key]))
        return records

    def close_windows(self, watermark_ms: int, catalogue_size: int) -> list[Metric]:
        """Final figures of the windows that end by then.

        Some tell of a state that later lists change (novelty, coverage, the rolling AUC): asked for
        before the first list after `next_close_ms`, they are the same however closes fall.
        """
        self._closed_ms = max(self._closed_ms, watermark_ms)
        done = sorted((self._closes_at(k.window_start_ms, k.age), k) for k in self._cells)
        records: list[Metric] = []
        self.next_close_ms = _FOREVER_MS
        for closes_ms, key in done:
            if closes_ms > self._closed_ms:
                self.next_close_ms = closes_ms
                break
            entry = self._cells.pop(key)
            records.extend(self._closing(key, entry, catalogue_size))
        records.extend(self._record(key, figure, 0, True) for key, figure in self._passed())
        return records

    def save(self) -> SavedMetrics:
        """State as plain values."""
        return SavedMetrics(
            cells=sorted(self._cells.items(), key=lambda pair: pair[0]),
            auc=[(key, auc.newest()) for key, auc in sorted(self._auc.items())],
            closed_ms=self._closed_ms,
            revised_ms=self._revised_ms,
            revised_wall_ms=self._revised_wall_ms,
            late=self.late,
            cohorts=self.cohorts,
        )

    @classmethod
    def load(cls, settings: Settings, saved: SavedMetrics) -> Metrics:
        """The measures that `save` described."""
        metrics = cls(settings)
        metrics._cells = dict(saved.cells)
        metrics._auc = {key: RollingAuc(slots) for key, slots in saved.auc}
        ends = (metrics._closes_at(k.window_start_ms, k.age) for k in metrics._cells)
        metrics.next_close_ms = min(ends, default=_FOREVER_MS)
        metrics._closed_ms, metrics._revised_ms = saved.closed_ms, saved.revised_ms
        metrics._revised_wall_ms, metrics.late = saved.revised_wall_ms, saved.late
        metrics.cohorts = saved.cohorts
        return metrics

    def _fill(
        self, cell: Cell, judged: JudgedList, verdict: Judgement | None, served: bool
    ) -> None:
        cell.requests += 1
        if verdict is not None:
            cell.judged(verdict)
        if judged.true_class:
            cell.classified(judged.said_class, judged.true_class)
        if not served:
            return
        cell.responded(judged)
        if judged.age != "final":
            return
        cell.served(judged)
        labels = judged.labels[: len(judged.item_ids)]
        scored = bool(labels) and len(labels) == len(judged.scores)
        if judged.policy == LOOP and scored and judged.arm != "fallback":
            cell.predicted(judged.scores, labels)
            self._rolling(judged).add(labels, judged.scores)

    def _rolling(self, judged: JudgedList) -> RollingAuc:
        key = "/".join((judged.surface, judged.model_version, judged.arm))
        auc = self._auc.get(key)
        if auc is None:
            auc = self._auc[key] = RollingAuc()
        return auc

    def _due(self, watermark_ms: int, wall_ms: int) -> bool:
        if watermark_ms < self._revised_ms or abs(wall_ms - watermark_ms) < HOUR_MS:
            return wall_ms - self._revised_wall_ms >= LIVE_REVISION_MS
        return watermark_ms - self._revised_ms >= HOUR_MS

    def _window_of(self, at_ms: int) -> int:
        return at_ms - at_ms % self.settings.metric_window_ms

    def _closes_at(self, start_ms: int, age: LabelAge) -> int:
        return start_ms + self.settings.metric_window_ms + label_delay_ms(self.settings, age)

    def _passed(self) -> Iterator[Keyed]:
        """What windows say over all arms, once they have passed."""
        width_ms, closed_ms = self.settings.metric_window_ms, self._closed_ms
        for start in sorted(self.cohorts.accounts):
            if start + width_ms <= closed_ms:
                yield from self.cohorts.accounted(start)
        for start in sorted(self.cohorts.health):
            if self._closes_at(start, "final") <= closed_ms:
                yield from self.cohorts.healthy(start)

    def _closing(self, key: CellKey, entry: OpenCell, catalogue_size: int) -> Iterator[Metric]:
        for figure in self._figures(key, entry.cell, catalogue_size):
            yield self._record(key, figure, entry.revision, True)
        if key.arm in SERVED_ARMS:
            for its_key, figure in self.cohorts.closed(key, entry.cell):
                yield self._record(its_key, figure, 0, True)

    def _provisional(self, key: CellKey, entry: OpenCell) -> Iterator[Metric]:
        entry.dirty = False
        cell = entry.cell
        names = ("hr10", "ndcg10") if key.age == "final" else ("hr10",)
        clicked = response(cell) if cell.clicked else []
        for figure in (*quality(cell, names), *clicked, *self.cohorts.early(key, cell)):
            if figure.name in _PROVISIONAL:
                yield self._record(key, figure, entry.revision, False)
        entry.revision += 1

    def _figures(self, key: CellKey, cell: Cell, catalogue_size: int) -> Iterator[Figure]:
        served = key.arm in SERVED_ARMS
        yield from classified(cell)
        if not served:
            yield from quality(cell, _DERIVED_QUALITY)
            return
        yield from quality(cell, _QUALITY if key.age == "final" else ("hr10",))
        yield from response(cell)
        yield from self.cohorts.early(key, cell)
        if key.age != "final":
            return
        yield from service(cell, catalogue_size)
        yield from self.cohorts.surprise(cell)
        yield from probability(cell)
        auc = self._auc.get("/".join((key.surface, key.model_version, key.arm)))
        if auc is not None and cell.log_loss.n:
            yield from _auc_figures(auc)

    def _record(self, key: CellKey, figure: Figure, revision: int, closed: bool) -> Metric:
        window = str(key.window_start_ms)
        return Metric(
            metric_id=derived_id(
                "metric", self.settings.task, *key[1:], figure.name, window, str(revision)
            ),
            task=self.settings.task,
            window_end_ms=key.window_start_ms + self.settings.metric_window_ms,
            name=figure.name,
            value=figure.value,
            n=figure.n,
            low=figure.low,
            high=figure.high,
            revision=revision,
            closed=closed,
            **key._asdict(),
        )


def _auc_figures(auc: RollingAuc) -> list[Figure]:
    known = auc.value()
    if known is None:
        return []
    value, positives, negatives = known
    low, high = auc_interval(value, positives, negatives)
    return [Figure("auc", value, positives + negatives, low, high)]


def label_delay_ms(settings: Settings, age: LabelAge) -> int:
    """How long after an answer its labels at this age are known.

    >>> label_delay_ms(Settings(), "1h") == HOUR_MS
    True
    """
    early = {"5m": 5 * 60_000, "1h": HOUR_MS, "24h": 24 * HOUR_MS}
    return early.get(age, settings.purchase_window_ms)


def verdict_of(judged: JudgedList) -> Judgement | None:
    """The ranking quality of a judged list, None when there is nothing to judge it on."""
    return judge(judged.item_ids, target(judged))
