"""A drill: the detectors on two copies of recorded traffic, one untouched, one with drift put in.

The first part of the traffic is what a champion would have been trained on, the second is watched
as it was in both copies, the third is changed in one. Whatever the untouched copy alarms about is
a false alarm, or a drift that was really there. The live loop sees nothing of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from core.drift import KINDS, Drift
from core.drift_actions import action_of
from core.drift_clicks import ClickCusum
from core.drift_errors import ErrorCusum, ErrorWindow
from core.drift_inputs import MINIMUM_BASKETS, PopularityTest, UnknownCusum
from core.drift_scan import LEAST_BEFORE, ErrorScan, minimum_rise
from core.drift_types import Evidence
from core.drill_changes import Seen, changed
from core.metrics import LOOP, verdict_of
from core.settings import Settings
from schemas.metrics import DriftAction, DriftKind
from schemas.outcomes import BasketSeen, JudgedBatch, JudgedList, SlotRecord

LEAST_RECORDS = 1_000
_CHAMPION = "drill"


class Drill(msgspec.Struct, frozen=True, kw_only=True):
    """What is put in: a kind of drift, how strong, and after which shares of the traffic."""

    kind: DriftKind
    strength: float = 0.3
    learn_share: float = 0.3
    watch_share: float = 0.6
    seed: int = 7


class DetectorReport(msgspec.Struct, frozen=True, kw_only=True):
    """One detector: its alarms on the untouched copy, and how soon it found what was put in.

    `observations` are lists, slots or baskets, whichever it counts; delays count them from the
    change, and `delay_ms` is in event time. One that is not `ready` had too few for a baseline.
    `minimum_detectable` is that of the alarm; without one, what the traffic after the change could
    have shown, where the detector can tell.
    """

    surface: str
    detector: str
    kind: DriftKind
    ready: bool
    observations: int
    false_alarms: int
    delay: int | None = None
    delay_ms: int | None = None
    effect: float | None = None
    minimum_detectable: float | None = None


class DrillReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole drill; `first_kind` is what the first alarm on the changed copy took it for."""

    kind: DriftKind
    strength: float
    seed: int
    lists: int
    baskets: int
    from_ms: int
    until_ms: int
    changed_at_ms: int
    detected: bool
    first_kind: DriftKind | None
    delay: int | None
    delay_ms: int | None
    detector: str
    action: DriftAction
    false_alarms: int
    budgeted_false_alarms: float
    detectors: list[DetectorReport]


class _Alarm(msgspec.Struct, frozen=True):
    """An alarm, after which record and after how many observations of its detector."""

    evidence: Evidence
    record: int
    seen: int

    @property
    def place(self) -> str:
        return f"{self.evidence.surface}/{self.evidence.detector}"


class _Copy:
    """One copy of the traffic under the detectors."""

    def __init__(self, settings: Settings) -> None:
        self.drift = Drift(settings)
        self.surface = settings.surface_names[0]
        self.seen: Counter[str] = Counter()
        self.alarms: list[_Alarm] = []

    def step(self, record: Seen, number: int) -> None:
        """Shows the detectors one record."""
        raised = self._basket(record) if isinstance(record, BasketSeen) else self._list(record)
        for evidence in raised:
            place = f"{evidence.surface}/{evidence.detector}"
            self.alarms.append(_Alarm(evidence, number, self.seen[place]))

    def _basket(self, record: BasketSeen) -> list[Evidence]:
        if record.item_ids and self.drift.state.version:
            self._count(self.surface, "unknown_items_cusum", "popularity_js")
        return self.drift.basket(record)

    def _list(self, record: JudgedList) -> list[Evidence]:
        if not self.drift.state.version:
            return []
        where, at_ms, slots = record.surface, record.closed_at_ms, len(record.item_ids)
        verdict = verdict_of(record)
        hit = None if verdict is None else verdict.hr10 > 0
        self._count(where, "no_basket_cusum")
        self.seen[f"{where}/click_cusum"] += slots
        if hit is not None:
            self._count(where, "error_cusum", "error_adwin", "error_scan")
        return [
            *self.drift.judged(where, at_ms, hit=hit, no_basket=not record.basket),
            *self.drift.clicked(where, at_ms, slots=slots, clicks=record.clicks),
        ]

    def _count(self, surface: str, *detectors: str) -> None:
        for detector in detectors:
            self.seen[f"{surface}/{detector}"] += 1


def usable(records: Iterable[SlotRecord], settings: Settings) -> list[Seen]:
    """The champion's final lists and all baskets of the task, each once, in order of time.

    Features are left out: what ranked the lists is no matter here, and they are most of the bytes.
    """
    found: dict[str, Seen] = {}
    for record in records:
        for entry in record.entries if isinstance(record, JudgedBatch) else [record]:
            if isinstance(entry, BasketSeen) and entry.task == settings.task:
                found.setdefault(entry.event_id, entry)
            elif isinstance(entry, JudgedList) and _is_champions(entry, settings.task):
                found.setdefault(entry.judged_id, _without_features(entry))
    return sorted(found.values(), key=_order_of)


def drill(records: Sequence[Seen], settings: Settings, plan: Drill) -> DrillReport:
    """Runs both copies over records in order of time, as `usable` gives them."""
    starts, changes = (int(len(records) * share) for share in (plan.learn_share, plan.watch_share))
    random = np.random.default_rng(plan.seed)
    plain, drifted = _Copy(settings), _Copy(settings)
    at_change: Counter[str] = Counter()
    for number, record in enumerate(records):
        if number == starts:
            for copy in (plain, drifted):
                copy.drift.start(_CHAMPION, _order_of(record)[0])
        if number == changes:
            at_change = drifted.seen.copy()
        plain.step(record, number)
        if number >= changes:
            record = changed(record, plan.kind, plan.strength, random)
        drifted.step(record, number)
    also = {(alarm.place, alarm.record) for alarm in plain.alarms}
    new = [a for a in drifted.alarms if a.record >= changes and (a.place, a.record) not in also]
    return _report(records, plan, plain, new, (changes, at_change), settings)


def _report(
    records: Sequence[Seen],
    plan: Drill,
    plain: _Copy,
    new: list[_Alarm],
    change: tuple[int, Counter[str]],
    settings: Settings,
) -> DrillReport:
    changed_at_ms = _order_of(records[change[0]])[0]
    false_alarms = Counter(alarm.place for alarm in plain.alarms)
    reports = []
    for place in _places(settings):
        first = next((alarm for alarm in new if alarm.place == place), None)
        reports.append(
            _of_detector(place, plain, false_alarms[place], first, change[1], changed_at_ms)
        )
    right = next((alarm for alarm in new if alarm.evidence.kind == plan.kind), None)
    watched = sum(each.observations for each in reports if each.ready)
    return DrillReport(
        kind=plan.kind,
        strength=plan.strength,
        seed=plan.seed,
        lists=sum(isinstance(record, JudgedList) for record in records),
        baskets=sum(isinstance(record, BasketSeen) for record in records),
        from_ms=_order_of(records[0])[0],
        until_ms=_order_of(records[-1])[0],
        changed_at_ms=changed_at_ms,
        detected=right is not None,
        first_kind=new[0].evidence.kind if new else None,
        delay=right.seen - change[1][right.place] if right else None,
        delay_ms=right.evidence.event_time_ms - changed_at_ms if right else None,
        detector=right.place if right else "",
        action=action_of(plan.kind) if right else "none",
        false_alarms=len(plain.alarms),
        budgeted_false_alarms=watched * settings.false_alarms_per_million / 1e6,
        detectors=reports,
    )


def _of_detector(
    place: str,
    plain: _Copy,
    false_alarms: int,
    first: _Alarm | None,
    at_change: Counter[str],
    changed_at_ms: int,
) -> DetectorReport:
    surface, detector = place.split("/")
    observed = first.evidence.observed if first else None
    could_see = _could_see(plain.drift, place, plain.seen[place] - at_change[place])
    return DetectorReport(
        surface=surface,
        detector=detector,
        kind=KINDS[detector],
        ready=_is_ready(plain.drift, surface, detector),
        observations=plain.seen[place],
        false_alarms=false_alarms,
        delay=first.seen - at_change[place] if first else None,
        delay_ms=first.evidence.event_time_ms - changed_at_ms if first else None,
        effect=observed.effect if observed else None,
        minimum_detectable=observed.minimum_detectable if observed else could_see,
    )


def _places(settings: Settings) -> list[str]:
    first = settings.surface_names[0]
    everywhere = [d for d, kind in KINDS.items() if kind != "input"]
    inputs = [f"{first}/{d}" for d, kind in KINDS.items() if kind == "input"]
    return [f"{surface}/{d}" for surface in settings.surface_names for d in everywhere] + inputs


def _is_ready(drift: Drift, surface: str, detector: str) -> bool:
    """Whether the detector has seen enough to compare with."""
    match drift.chart(surface, detector):
        case ErrorCusum(chart=chart) | ClickCusum(chart=chart):
            return chart is not None
        case ErrorWindow(n=n) | ErrorScan(n=n):
            return n >= 2 * LEAST_BEFORE
        case UnknownCusum(deviation=deviation):
            return deviation > 0
        case PopularityTest(reference=reference):
            return len(reference) >= MINIMUM_BASKETS


def _could_see(drift: Drift, place: str, n: int) -> float | None:
    """The smallest rise that n more observations lift to the threshold, if it can be told."""
    match drift.chart(*place.split("/")):
        case ErrorCusum(chart=chart) | ClickCusum(chart=chart) if chart is not None and n:
            return chart.minimum_detectable(n)
        case ErrorScan() as scan if scan.n:
            return minimum_rise(scan.events / scan.n, scan.n, scan.threshold)
    return None


def _is_champions(judged: JudgedList, task: str) -> bool:
    final = judged.age == "final" and judged.policy == LOOP and judged.arm == "champion"
    return final and judged.task == task


def _without_features(judged: JudgedList) -> JudgedList:
    labels = judged.labels[: len(judged.item_ids)]
    return msgspec.structs.replace(judged, features=[], considered=[], labels=labels)


def _order_of(record: Seen) -> tuple[int, str]:
    if isinstance(record, BasketSeen):
        return record.event_time_ms, record.event_id
    return record.closed_at_ms, record.judged_id
