"""Which canary steps the traffic can judge, and what a step's answers say: functions of counts.

A step passes when the version is surely not worse by more than the margin on every used surface; it
is taken back when it is surely worse, badly served, not reached by its visitors, or undecided for
too long. Without that evidence nothing passes. A surface that is asked far less than the busiest
can take a step back, but none waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from core.canary import STEPS, Arms, Canary
from core.intervals import sample_ratio_mismatch
from core.pairs import Tally
from core.promotion_rules import Rules, Verdict, busy, left_out
from core.sequential import Difference, Share, share_difference, split_days, split_p, surely_above
from core.service_tally import slower_tail, worse_service
from core.settings import DAY_MS

BREACH_ALPHA = 0.05
"""Chance that a version as good as the champion is called worse, over all steps and surfaces."""
BROKEN_SPLIT_P = 0.001
MOST_MISROUTED = 0.1


class Plan(NamedTuple):
    """The steps that are run, in order; what is said about the others, and the days of each."""

    steps: list[int]
    reason: str
    evidence: dict[str, float]


def canary_plan(
    rules: Rules,
    tallies: Mapping[str, Tally],
    answered: Mapping[str, int],
    waited_ms: int,
    alpha: float = 0.05,
) -> Plan:
    """The steps that this traffic judges within the stated time; the others are skipped, on record.

    >>> rules = Rules(margin=0.05, minimum_n=150, timeout_ms=10, surfaces=("home",))
    >>> tally = Tally(n=300, champion_hits=210)
    >>> plan = canary_plan(rules, {"home": tally}, {"home": 300}, 6 * DAY_MS)
    >>> plan.steps, round(plan.evidence["canary_1_days"])
    ([], 2551)
    >>> canary_plan(rules, {"home": tally}, {"home": 60_000}, 6 * DAY_MS).steps
    [5, 25, 50]
    """
    judged = {n: tallies[n] for n in busy(rules, answered) if n in tallies and tallies[n].n}
    days = {step: _days(rules, judged, answered, waited_ms, step / 100, alpha) for step in STEPS}
    evidence = {f"canary_{step}_days": _finite(days[step]) for step in STEPS}
    evidence["canary_days"] = _finite(sum(days.values()))
    within = rules.canary_within_ms / DAY_MS
    steps = [step for step in STEPS if days[step] <= within]
    skipped = [step for step in STEPS if step not in steps]
    if not skipped:
        return Plan(steps, f"to {steps[0]} % of visitors", evidence)
    names = "→".join(map(str, skipped))
    if steps:
        reason = (
            f"to {steps[0]} % of visitors; skipped {names} %: not judged within {within:g} days"
        )
        return Plan(steps, reason, evidence)
    reason = (
        f"skipped: traffic cannot judge {names} % within {within:g} days, it would take "
        f"{evidence['canary_days']:.0f}"
    )
    return Plan([], reason, evidence)


def judge_step(rules: Rules, step: Canary, waited_ms: int, alpha: float = 0.05) -> Verdict:
    """What a step's mature answers say; every look is allowed.

    >>> rules = Rules(margin=0.05, minimum_n=150, timeout_ms=10, surfaces=("home",))
    >>> judge_step(rules, Canary("v2", 5, 0), DAY_MS).decision
    'wait'
    >>> judge_step(rules, Canary("v2", 5, 0), 99 * DAY_MS).decision
    'reject'
    """
    used = [name for name in rules.surfaces if name in step.surfaces]
    evidence = _evidence(rules, used, step, waited_ms, alpha)
    breach = _breach(rules, used, step)
    if breach:
        return Verdict("reject", breach, evidence)
    answers = {name: step.surfaces[name].canary.n for name in used}
    judged = busy(rules, answers)
    enough = all(answers[name] >= rules.minimum_n for name in judged)
    sure = all(evidence[f"{name}_low"] >= -rules.margin for name in judged)
    if judged and enough and sure:
        better = [name for name in judged if evidence[f"{name}_low"] > 0]
        superior = f", better on {' and '.join(better)}" if better else ""
        text = f"at {step.percent} % not worse by more than {rules.margin:g}{superior}"
        return Verdict("promote", text + left_out(used, judged, answers), evidence)
    if waited_ms >= 2 * rules.canary_within_ms:
        days = waited_ms / DAY_MS
        return Verdict("reject", f"not judged at {step.percent} % within {days:.0f} days", evidence)
    return Verdict("wait", "", evidence)


def _breach(rules: Rules, used: list[str], step: Canary) -> str:
    alpha = BREACH_ALPHA / (len(STEPS) * max(len(rules.surfaces), 1))
    for name in used:
        arms = step.surfaces[name]
        if arms.canary.n >= rules.minimum_n and _difference(rules, arms, alpha).high < 0:
            return f"at {step.percent} % worse than the champion on {name}"
    if split_p(step.split(), _shares(step)) < BROKEN_SPLIT_P:
        inside, outside = step.split()
        return f"sample ratio: {inside} of {inside + outside} visitors at {step.percent} %"
    misrouted, settled = Share(step.misrouted, step.expected), Share(0, max(step.expected, 1))
    if surely_above(misrouted, settled, MOST_MISROUTED, alpha):
        return f"{step.misrouted} of {step.expected} of its answers came from another version"
    return worse_service(step.canary, step.champion, alpha, rules.latency_budget_ms) or slower_tail(
        step.canary, step.champion
    )


def _evidence(
    rules: Rules, used: list[str], step: Canary, waited_ms: int, alpha: float
) -> dict[str, float]:
    inside, outside = step.split()
    evidence = {
        "percent": float(step.percent),
        "days": waited_ms / DAY_MS,
        "canary_visitors": float(inside),
        "champion_visitors": float(outside),
        "split_p": split_p([inside, outside], _shares(step)),
        "split_chi2_p": sample_ratio_mismatch([inside, outside], _shares(step)),
    }
    for name in used:
        arms = step.surfaces[name]
        found = _difference(rules, arms, alpha)
        evidence |= {
            f"{name}_n": float(arms.canary.n),
            f"{name}_champion_n": float(arms.champion.n),
            f"{name}_mean": found.mean,
            f"{name}_low": max(found.low, -1.0),
            f"{name}_high": min(found.high, 1.0),
            f"{name}_p": found.p,
        }
    return evidence | step.canary.figures("canary") | step.champion.figures("champion")


def _difference(rules: Rules, arms: Arms, alpha: float) -> Difference:
    planned = 4.0 * rules.minimum_n
    return share_difference(
        arms.canary.share, arms.champion.share, rules.margin, alpha, planned, arms.spread()
    )


def _shares(step: Canary) -> list[float]:
    return [step.percent / 100, 1 - step.percent / 100]


def _days(
    rules: Rules,
    tallies: Mapping[str, Tally],
    answered: Mapping[str, int],
    waited_ms: int,
    share: float,
    alpha: float,
) -> float:
    days = [0.0]
    for name, tally in tallies.items():
        rate = min(max(tally.champion_hits / tally.n, 0.01), 0.99)
        a_day = answered.get(name, 0) / max(waited_ms / DAY_MS, 1e-9)
        days.append(split_days(rate, rules.margin, share, a_day, alpha))
    return max(days)


def _finite(days: float) -> float:
    return min(days, 1e9)
