"""A learner on a stream, tested then trained, started anew at each alarm of a detector."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from river.drift import ADWIN
from river.drift.binary import DDM, FHDDM, HDDMA
from river.tree import HoeffdingTreeClassifier

from bench.drift_streams import Stream, agrawal, circles, mixed, sine1
from core.drift_errors import ErrorCusum, ErrorWindow
from core.drift_scan import ErrorScan

OURS = "error_scan"
SOURCES: dict[str, Callable[[int], Stream]] = {
    "sine1": sine1,
    "mixed": mixed,
    "circles": circles,
    "agrawal": agrawal,
}
Observe = Callable[[bool], bool]


@dataclass
class Run:
    """What one detector made of one stream."""

    stream: str
    detector: str
    drifts: int
    delays: list[int] = field(default_factory=list)
    false_alarms: list[int] = field(default_factory=list)
    error: float = 0.0
    detector_us: float = 0.0


def _ours(chart: ErrorScan | ErrorWindow | ErrorCusum) -> Observe:
    return lambda error: chart.update(error) is not None


def _river(detector: Any, *, wants_hits: bool = False) -> Observe:
    def observe(error: bool) -> bool:
        detector.update(int(error != wants_hits))
        return bool(detector.drift_detected)

    return observe


DETECTORS: dict[str, Callable[[float], Observe]] = {
    OURS: lambda budget: _ours(ErrorScan(budget)),
    "error_adwin": lambda budget: _ours(ErrorWindow(budget)),
    "error_cusum": lambda budget: _ours(ErrorCusum(budget)),
    "river ADWIN": lambda _: _river(ADWIN()),  # type: ignore[no-untyped-call]
    "river DDM": lambda _: _river(DDM()),  # type: ignore[no-untyped-call]
    "river HDDM_A": lambda _: _river(HDDMA()),  # type: ignore[no-untyped-call]
    # River's documentation asks for errors; its rule, and the paper's, alarms when ones get rarer.
    "river FHDDM on hits": lambda _: _river(
        FHDDM(),  # type: ignore[no-untyped-call]
        wants_hits=True,
    ),
    "river FHDDM on errors": lambda _: _river(FHDDM()),  # type: ignore[no-untyped-call]
    "none": lambda _: lambda _error: False,
}
"""The product's three and baselines at their own defaults; all start the learner anew."""


def learner() -> Any:
    """River's Hoeffding tree at its defaults; the same for every detector."""
    return HoeffdingTreeClassifier()


def watch(stream: str, seed: int, detector: str, budget: float) -> Run:
    """Runs one detector over one stream."""
    source = SOURCES[stream](seed)
    model, observe = learner(), DETECTORS[detector](budget)
    alarms: list[int] = []
    errors, spent = 0, 0.0
    for at, (x, label) in enumerate(zip(source.features, source.labels, strict=True)):
        error = model.predict_one(x) != label
        model.learn_one(x, label)
        errors += error
        began = time.perf_counter()
        alarm = observe(error)
        spent += time.perf_counter() - began
        if alarm:
            alarms.append(at)
            model, observe = learner(), DETECTORS[detector](budget)
    n = len(source.labels)
    run = Run(stream, detector, len(source.drifts), error=errors / n, detector_us=1e6 * spent / n)
    run.delays, run.false_alarms = settled(alarms, source)
    return run


def settled(alarms: list[int], stream: Stream) -> tuple[list[int], list[int]]:
    """Delays of the drifts that an alarm found first, and the alarms that found none.

    >>> stream = Stream([], [], drifts=(100, 500), width=10, within=50)
    >>> settled([40, 95, 120, 510], stream)
    ([0, 10], [40, 120])
    """
    delays: dict[int, int] = {}
    false_alarms = []
    for alarm in alarms:
        near = [d for d in stream.drifts if d - stream.width <= alarm <= d + stream.within]
        if near and near[0] not in delays:
            delays[near[0]] = max(0, alarm - near[0])
        else:
            false_alarms.append(alarm)
    return list(delays.values()), false_alarms
