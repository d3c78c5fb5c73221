"""The figures of a replay: hit rate and recall at 10 by surface, policy and week, with intervals.

Works on judged requests alone, so that the same figures can be asked of SQL and compared.
Source of the protocol: design section 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.replay_judge import JudgedRequest

K = 10
POLICIES = ("loop", "control", "popular_7d", "own_items", "also_bought")
RIVALS = ("control", "popular_7d", "own_items", "also_bought")
RESAMPLES = 2_000
_DAY_MS = 86_400_000

Floats = NDArray[np.float64]


def hit_and_recall(listed: Sequence[str], wanted: set[str], k: int = K) -> tuple[float, float]:
    """Whether one wanted item is among the first k listed, and the share of them that is.

    >>> hit_and_recall(["a", "b", "c"], {"b", "x"}, k=2)
    (1.0, 0.5)
    """
    found = len(wanted.intersection(listed[:k]))
    return float(found > 0), found / len(wanted)


def week_of(at_ms: int) -> str:
    """The Monday (UTC) of the week of an event time.

    >>> week_of(1298937600000)
    '2011-02-28'
    """
    day = datetime.fromtimestamp(at_ms // 1000, UTC).date()
    return (day - timedelta(days=day.weekday())).isoformat()


class SurfaceFigures:
    """Judged requests of one surface as columns; a request counts if something was wanted."""

    def __init__(self) -> None:
        self.visitors: list[str] = []
        self.weeks: list[str] = []
        self.hits: dict[str, list[float]] = {policy: [] for policy in POLICIES}
        self.recalls: dict[str, list[float]] = {policy: [] for policy in POLICIES}

    def add(self, request: JudgedRequest) -> None:
        """Takes in one request; a policy without a list counts as missing, not as a miss."""
        wanted = request.wanted
        if not wanted:
            return
        self.visitors.append(request.visitor_id)
        self.weeks.append(week_of(request.served_at_ms))
        for policy in POLICIES:
            listed = request.lists.get(policy)
            hit, recall = (np.nan, np.nan) if listed is None else hit_and_recall(listed, wanted)
            self.hits[policy].append(hit)
            self.recalls[policy].append(recall)

    def summary(self) -> dict[str, dict[str, float | int]]:
        """Per policy: hr10, recall10 and the number of requests they are over."""
        return {
            policy: _means(np.array(self.hits[policy]), np.array(self.recalls[policy]))
            for policy in POLICIES
        }

    def weekly(self, surface: str) -> list[dict[str, Any]]:
        """One row per week and policy."""
        weeks = np.array(self.weeks)
        return [
            {"week": week, "surface": surface, "policy": policy}
            | _means(np.array(self.hits[policy])[at], np.array(self.recalls[policy])[at])
            for week in sorted(set(self.weeks))
            for at in [weeks == week]
            for policy in POLICIES
        ]

    def compare(self, surface: str, seed: int) -> list[dict[str, Any]]:
        """The loop against each rival on the same requests, 95 % interval by customer."""
        rows = []
        for metric, columns in (("hr10", self.hits), ("recall10", self.recalls)):
            loop = np.array(columns["loop"])
            for rival in RIVALS:
                difference = loop - np.array(columns[rival])
                rng = np.random.default_rng(seed)
                found = paired_bootstrap(difference, self.visitors, rng)
                head = {"surface": surface, "metric": metric, "policy": "loop", "rival": rival}
                rows.append(head | found)
        return rows


def _means(hits: Floats, recalls: Floats) -> dict[str, float | int]:
    present = ~np.isnan(hits)
    n = int(present.sum())
    if n == 0:
        return {"hr10": 0.0, "recall10": 0.0, "n": 0}
    return {
        "hr10": float(hits[present].mean()),
        "recall10": float(recalls[present].mean()),
        "n": n,
    }


def paired_bootstrap(
    differences: Floats, clusters: Sequence[str], rng: np.random.Generator
) -> dict[str, float | int]:
    """The mean difference with its 95 % interval, resampling whole customers.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8.

    Args:
        differences: one per request, NaN where one side has no list.
        clusters: the customer of each request.
        rng: where the resamples come from.
    """
    present = ~np.isnan(differences)
    values = differences[present]
    if values.size == 0:
        return {"difference": 0.0, "low": 0.0, "high": 0.0, "n": 0}
    _, owner = np.unique(np.array(clusters)[present], return_inverse=True)
    sums = np.bincount(owner, weights=values)
    counts = np.bincount(owner).astype(np.float64)
    means = np.empty(RESAMPLES)
    for draw in range(RESAMPLES):
        times = np.bincount(rng.integers(0, sums.size, sums.size), minlength=sums.size)
        means[draw] = (times @ sums) / (times @ counts)
    low, high = np.quantile(means, [0.025, 0.975])
    return {
        "difference": float(values.mean()),
        "low": float(low),
        "high": float(high),
        "n": int(values.size),
    }


class Figures:
    """All surfaces of one replay."""

    def __init__(self, surfaces: Sequence[str]) -> None:
        self.surfaces = {surface: SurfaceFigures() for surface in surfaces}

    def add(self, requests: Iterable[JudgedRequest]) -> None:
        """Takes in judged requests."""
        for request in requests:
            self.surfaces[request.surface].add(request)

    def as_report(self, seed: int = 7) -> dict[str, Any]:
        """The parts `surfaces`, `comparisons` and `weekly` of the report."""
        named = self.surfaces.items()
        return {
            "surfaces": {surface: figures.summary() for surface, figures in named},
            "comparisons": [
                row for surface, figures in named for row in figures.compare(surface, seed)
            ],
            "weekly": [row for surface, figures in named for row in figures.weekly(surface)],
        }
