"""Tables and paired intervals from judged answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.floor_data import WEEK_MS
from bench.floor_loop import SURFACES, Judged

PAIRS = (
    ("loop", "control"),
    ("loop", "also_bought"),
    ("loop", "popular_7d"),
    ("loop", "own_items"),
)
_DRAWS = 2000


def report(judged: Sequence[Judged], start_ms: int) -> dict[str, Any]:
    """Prints the tables; returns every figure with its n."""
    later = [j for j in judged if j.at_ms >= start_ms + 4 * WEEK_MS]
    spans = {"all weeks": judged, "from week 5": later}
    return {name: _span(name, rows) for name, rows in spans.items() if rows}


def _span(name: str, judged: Sequence[Judged]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for surface in SURFACES:
        rows = [j for j in judged if j.surface == surface]
        means = {policy: _means(kept) for policy, kept in _by_policy(rows).items()}
        out[surface] = {"policies": means, "paired": _paired(rows)}
        _print(f"{name}, {surface}", out[surface])
    return out


def _by_policy(rows: Sequence[Judged]) -> dict[str, list[Judged]]:
    kept: dict[str, list[Judged]] = defaultdict(list)
    for row in rows:
        kept[row.policy].append(row)
    return kept


def _means(rows: Sequence[Judged]) -> dict[str, float]:
    return {
        "hr_10": round(float(np.mean([r.found > 0 for r in rows])), 4),
        "recall_10": round(float(np.mean([r.found / r.wanted for r in rows])), 4),
        "n": len(rows),
    }


def _paired(rows: Sequence[Judged]) -> dict[str, Any]:
    by_policy = _by_policy(rows)
    return {
        f"{a} - {b}": {
            "hr_10": interval(by_policy[a], by_policy[b], lambda r: float(r.found > 0)),
            "recall_10": interval(by_policy[a], by_policy[b], lambda r: r.found / r.wanted),
        }
        for a, b in PAIRS
        if a in by_policy and b in by_policy
    }


def interval(ours: Sequence[Judged], theirs: Sequence[Judged], value: Any) -> list[float]:
    """Mean difference and its 95 % interval, bootstrapped by customer."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for a, b in zip(ours, theirs, strict=True):
        total = totals[a.visitor_id]
        total[0] += value(a) - value(b)
        total[1] += 1.0
    pairs = np.array(list(totals.values()))
    draws = _bootstrap(pairs)
    mean = pairs[:, 0].sum() / pairs[:, 1].sum()
    return [round(float(v), 4) for v in (mean, *np.quantile(draws, [0.025, 0.975]))]


def _bootstrap(pairs: NDArray[np.float64]) -> NDArray[np.float64]:
    random = np.random.default_rng(0)
    draws = np.empty(_DRAWS)
    for i in range(_DRAWS):
        drawn = pairs[random.integers(len(pairs), size=len(pairs))]
        draws[i] = drawn[:, 0].sum() / drawn[:, 1].sum()
    return draws


def _print(title: str, part: dict[str, Any]) -> None:
    print(f"\n{title}")
    for policy, means in part["policies"].items():
        print(f"  {policy:<26}{means['hr_10']:.3f}  {means['recall_10']:.3f}  n={means['n']}")
    for pair, metrics in part["paired"].items():
        mean, low, high = metrics["hr_10"]
        print(f"  {pair:<26}HR {mean:+.4f} [{low:+.4f}, {high:+.4f}]")
