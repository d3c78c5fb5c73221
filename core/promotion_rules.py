"""The rule of the shadow as a function of counts, and what the operator set.

Differences are hit rates at 10, challenger less champion, on the same requests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from core.pairs import Tally
from core.settings import DAY_MS

LEAST_PAIRED_SHARE = 0.8
MOST_ADDED_DEGRADED = 0.02
FEWEST_PAIRS = 20
WAITED_FOR_SHARE = 0.5
"""A surface with a smaller share of the busiest one's answers holds up no decision."""
REJECT_ALPHA = 0.05
"""A worse challenger is turned away at this level whatever its number: that promotes nothing."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator set."""

    margin: float
    minimum_n: int
    timeout_ms: int
    surfaces: tuple[str, ...]
    canary_within_ms: int = 7 * DAY_MS
    latency_budget_ms: float = 1_000.0


class Verdict(NamedTuple):
    """What to do, why, and the figures it rests on."""

    decision: Literal["wait", "promote", "reject"]
    reason: str
    evidence: dict[str, float]


def busy(rules: Rules, answered: Mapping[str, int]) -> list[str]:
    """The surfaces with a fair share of the busiest one's judged answers.

    >>> rules = Rules(margin=0.05, minimum_n=150, timeout_ms=10, surfaces=("home", "buy_again"))
    >>> busy(rules, {"home": 200, "buy_again": 60})
    ['home']
    """
    most = max((answered.get(name, 0) for name in rules.surfaces), default=0)
    return [n for n in rules.surfaces if answered.get(n, 0) >= max(WAITED_FOR_SHARE * most, 1)]


def left_out(used: Sequence[str], judged: Sequence[str], answers: Mapping[str, int]) -> str:
    """What a reason says of the used surfaces that were not waited for.

    >>> left_out(["home", "buy_again"], ["home"], {"buy_again": 60})
    '; not compared: buy_again (n = 60)'
    """
    few = [f"{name} (n = {answers.get(name, 0)})" for name in used if name not in judged]
    return f"; not compared: {', '.join(few)}" if few else ""


def judge_shadow(
    rules: Rules,
    tallies: Mapping[str, Tally],
    answered: Mapping[str, int],
    waited_ms: int,
    alpha: float = 0.05,
) -> Verdict:
    """The challenger's verdict from paired answers; every look is allowed.

    `alpha` is this candidate's share of the budget, for the lower bounds. Rejected once an upper
    bound is below zero; promoted once every surface is non-inferior within the margin; at the
    timeout by the point estimates, and the reason says so. A surface that is asked far less than
    the busiest counts once it has the minimum of pairs, and until then holds up nothing.

    >>> rules = Rules(margin=0.05, minimum_n=150, timeout_ms=10, surfaces=("home",))
    >>> equal = Tally(n=200, total=0.0, squares=20.0, champion_hits=140)
    >>> judge_shadow(rules, {"home": equal}, {"home": 200}, 5).decision
    'wait'
    >>> judge_shadow(rules, {"home": equal}, {"home": 200}, 10).decision
    'promote'
    """
    used = [name for name in rules.surfaces if answered.get(name, 0)]
    pairs = {name: tally.n for name, tally in tallies.items()}
    often = busy(rules, answered)
    judged = [name for name in used if name in often or _judged(tallies, name, rules)]
    aside = left_out(used, judged, pairs)
    evidence = _evidence(rules, used, tallies, waited_ms, alpha)
    worse = [n for n in used if _judged(tallies, n, rules) and evidence[f"{n}_high"] < 0]
    if worse:
        return Verdict("reject", f"worse than the champion on {' and '.join(worse)}", evidence)
    late = waited_ms >= rules.timeout_ms
    asked = [name for name in used if name in judged or answered[name] >= FEWEST_PAIRS]
    broken = _broken(asked, tallies, answered)
    if broken:
        return Verdict("reject" if late else "wait", broken, evidence)
    sure = all(_judged(tallies, n, rules) and evidence[f"{n}_low"] >= -rules.margin for n in judged)
    if judged and sure:
        return Verdict("promote", f"not worse by more than {rules.margin:g}{aside}", evidence)
    if not late:
        return Verdict("wait", "", evidence)
    verdict = _at_timeout(rules, judged, tallies, evidence)
    return verdict._replace(reason=verdict.reason + aside)


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
    rules: Rules, used: list[str], tallies: Mapping[str, Tally], waited_ms: int, alpha: float
) -> dict[str, float]:
    evidence = {"days": waited_ms / DAY_MS}
    for name in used:
        tally = tallies.get(name, Tally())
        low, _ = tally.bounds(4 * rules.minimum_n, alpha)
        _, high = tally.bounds(4 * rules.minimum_n, REJECT_ALPHA)
        evidence |= {
            f"{name}_n": float(tally.n),
            f"{name}_mean": tally.mean,
            f"{name}_low": low if math.isfinite(low) else -1.0,
            f"{name}_high": high if math.isfinite(high) else 1.0,
        }
    return evidence


def _judged(tallies: Mapping[str, Tally], name: str, rules: Rules) -> bool:
    return name in tallies and tallies[name].n >= rules.minimum_n
