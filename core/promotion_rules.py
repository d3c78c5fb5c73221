"""The rules of promotion as functions of counts: shadow verdict, canary plan, champion's guard.

Differences are hit rates at 10, challenger (or control) less champion, on the same requests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from core.intervals import split_sample_size
from core.pairs import Tally
from core.settings import DAY_MS

CANARY_STEPS = (1, 5, 25, 50)
CANARY_WITHIN_MS = 7 * DAY_MS
LEAST_PAIRED_SHARE = 0.8
MOST_ADDED_DEGRADED = 0.02
FEWEST_PAIRS = 20
GUARD_ALPHA = 0.01


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator set."""

    margin: float
    minimum_n: int
    timeout_ms: int
    surfaces: tuple[str, ...]


class Verdict(NamedTuple):
    """What to do, why, and the figures it rests on."""

    decision: Literal["wait", "promote", "reject"]
    reason: str
    evidence: dict[str, float]


def judge_shadow(
    rules: Rules, tallies: Mapping[str, Tally], answered: Mapping[str, int], waited_ms: int
) -> Verdict:
    """The challenger's verdict from paired answers; every look is allowed.

    Rejected once an upper bound is below zero; promoted once every used surface is non-inferior
    within the margin; at the timeout by the point estimates, and the reason says so.

    >>> rules = Rules(margin=0.05, minimum_n=150, timeout_ms=10, surfaces=("home",))
    >>> equal = Tally(n=200, total=0.0, squares=20.0, champion_hits=140)
    >>> judge_shadow(rules, {"home": equal}, {"home": 200}, 5).decision
    'wait'
    >>> judge_shadow(rules, {"home": equal}, {"home": 200}, 10).decision
    'promote'
    """
    used = [name for name in rules.surfaces if answered.get(name, 0)]
    evidence = _evidence(rules, used, tallies, waited_ms)
    worse = [n for n in used if _judged(tallies, n, rules) and evidence[f"{n}_high"] < 0]
    if worse:
        return Verdict("reject", f"worse than the champion on {' and '.join(worse)}", evidence)
    late = waited_ms >= rules.timeout_ms
    broken = _broken(used, tallies, answered)
    if broken:
        return Verdict("reject" if late else "wait", broken, evidence)
    sure = all(_judged(tallies, n, rules) and evidence[f"{n}_low"] >= -rules.margin for n in used)
    if used and sure:
        return Verdict("promote", f"not worse by more than {rules.margin:g}", evidence)
    if not late:
        return Verdict("wait", "", evidence)
    return _at_timeout(rules, used, tallies, evidence)


def canary_plan(
    rules: Rules, tallies: Mapping[str, Tally], answered: Mapping[str, int], waited_ms: int
) -> tuple[str, dict[str, float]]:
    """Why the split steps are skipped, and how many days of this traffic each would take.

    >>> rules = Rules(margin=0.05, minimum_n=150, timeout_ms=10, surfaces=("home",))
    >>> tally = Tally(n=300, champion_hits=210)
    >>> reason, days = canary_plan(rules, {"home": tally}, {"home": 300}, 6 * DAY_MS)
    >>> round(days["canary_1_days"])
    2078
    """
    pace = {n: answered.get(n, 0) / max(waited_ms / DAY_MS, 1e-9) for n in rules.surfaces}
    slowest, evidence = 0.0, {}
    for percent in CANARY_STEPS:
        days = [
            _needed(tallies[n], rules.margin) / max(pace[n] * percent / 100, 1e-9)
            for n in rules.surfaces
            if n in tallies and tallies[n].n
        ]
        evidence[f"canary_{percent}_days"] = max(days, default=0.0)
        slowest += evidence[f"canary_{percent}_days"]
    evidence["canary_days"] = slowest
    within = CANARY_WITHIN_MS / DAY_MS
    if slowest > within:
        return (
            f"skipped: traffic cannot judge 1→5→25→50 % within {within:g} days, it would take "
            f"{slowest:.0f}",
            evidence,
        )
    return f"skipped: judged on the same requests; a split would take {slowest:.1f} days", evidence


def champion_breached(rules: Rules, tallies: Mapping[str, Tally]) -> Verdict | None:
    """A verdict when the control is surely better than the champion on some surface."""
    for name in rules.surfaces:
        tally = tallies.get(name)
        if tally is None or tally.n < rules.minimum_n:
            continue
        low, high = tally.bounds(4 * rules.minimum_n, GUARD_ALPHA)
        if low > 0:
            evidence = {"n": float(tally.n), "low": low, "high": high, "mean": tally.mean}
            return Verdict("reject", f"the frozen control is better on {name}", evidence)
    return None


def _at_timeout(
    rules: Rules, used: list[str], tallies: Mapping[str, Tally], evidence: dict[str, float]
) -> Verdict:
    scarce = [name for name in used if tallies.get(name, Tally()).n < FEWEST_PAIRS]
    if scarce or not used:
        where = " and ".join(scarce) or "any surface"
        return Verdict(
            "reject", f"time is up with fewer than {FEWEST_PAIRS} pairs on {where}", evidence
        )
    behind = [name for name in used if tallies[name].mean < -rules.margin]
    if behind:
        text = (
            f"time is up and it is behind by more than {rules.margin:g} on {' and '.join(behind)}"
        )
        return Verdict("reject", text, evidence)
    text = f"time is up; point estimates are within {rules.margin:g} and guardrails hold"
    return Verdict("promote", text, evidence)


def _broken(used: list[str], tallies: Mapping[str, Tally], answered: Mapping[str, int]) -> str:
    for name in used:
        tally = tallies.get(name, Tally())
        if tally.n < LEAST_PAIRED_SHARE * answered[name]:
            return f"the shadow answered {tally.n} of {answered[name]} requests on {name}"
        if (tally.rival_degraded - tally.champion_degraded) > MOST_ADDED_DEGRADED * tally.n:
            return f"more answers are degraded than the champion's on {name}"
    return ""


def _evidence(
    rules: Rules, used: list[str], tallies: Mapping[str, Tally], waited_ms: int
) -> dict[str, float]:
    evidence = {"days": waited_ms / DAY_MS}
    for name in used:
        tally = tallies.get(name, Tally())
        low, high = tally.bounds(4 * rules.minimum_n)
        evidence |= {
            f"{name}_n": float(tally.n),
            f"{name}_mean": tally.mean,
            f"{name}_low": low if math.isfinite(low) else -1.0,
            f"{name}_high": high if math.isfinite(high) else 1.0,
        }
    return evidence


def _judged(tallies: Mapping[str, Tally], name: str, rules: Rules) -> bool:
    return name in tallies and tallies[name].n >= rules.minimum_n


def _needed(tally: Tally, margin: float) -> int:
    rate = tally.champion_hits / tally.n
    return split_sample_size(min(max(rate, 0.01), 0.99), margin)
