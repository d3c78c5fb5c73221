"""What is held against a champion after its promotion, and when it must go.

Quality is compared with the frozen control on the same requests; service (degraded and slow
answers) with the version before it; and replicas must answer with it at all. Every look is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from core.canary import SETTLING_MS
from core.pairs import Tally
from core.promotion_rules import Rules, Verdict
from core.sequential import Share, surely_above
from core.service_tally import ServiceTally, worse_service
from schemas.outcomes import JudgedList

GUARD_ALPHA = 0.01
MOST_OTHERS = 0.1


class Watch(msgspec.Struct):
    """How answers came since a version became champion, and how the former's had come."""

    since_ms: int = 0
    service: ServiceTally = msgspec.field(default_factory=ServiceTally)
    former: ServiceTally = msgspec.field(default_factory=ServiceTally)
    settled: int = 0
    others: int = 0

    def add(self, judged: JudgedList, champion: str, latency_budget_ms: float) -> None:
        """Takes in how an answer was served that the champion should have given."""
        if judged.served_at_ms < self.since_ms:
            return
        mine = judged.model_version in ("", champion)
        if mine:
            self.service.add(judged.degraded, judged.latency_ms, latency_budget_ms)
        if judged.served_at_ms >= self.since_ms + SETTLING_MS:
            self.settled += 1
            # What a canary answered before it was stopped is no other version's answer.
            self.others += not mine and judged.arm != "canary"

    def swapped(self, now_ms: int) -> Watch:
        """The watch over the next champion."""
        return Watch(since_ms=now_ms, former=self.service)


def champion_breached(
    rules: Rules, tallies: Mapping[str, Tally], watch: Watch | None = None
) -> Verdict | None:
    """Why the champion must go, or None.

    >>> rules = Rules(margin=0.05, minimum_n=150, timeout_ms=10, surfaces=("home",))
    >>> better = Tally(n=400, total=80.0, squares=120.0)
    >>> champion_breached(rules, {"home": better}).reason
    'the frozen control is better on home'
    """
    for name in rules.surfaces:
        tally = tallies.get(name)
        if tally is None or tally.n < rules.minimum_n:
            continue
        low, high = tally.bounds(4 * rules.minimum_n, GUARD_ALPHA)
        if low > 0:
            evidence = {"n": float(tally.n), "low": low, "high": high, "mean": tally.mean}
            return Verdict("reject", f"the frozen control is better on {name}", evidence)
    return _badly_served(rules, watch) if watch is not None else None


def _badly_served(rules: Rules, watch: Watch) -> Verdict | None:
    settled = Share(0, max(watch.settled, 1))
    if surely_above(Share(watch.others, watch.settled), settled, MOST_OTHERS, GUARD_ALPHA):
        reason = f"{watch.others} of {watch.settled} answers came from another version"
    else:
        budget_ms = rules.latency_budget_ms
        reason = worse_service(watch.service, watch.former, GUARD_ALPHA, budget_ms)
    if not reason:
        return None
    evidence = {"settled": float(watch.settled), "others": float(watch.others)}
    evidence |= watch.service.figures("champion") | watch.former.figures("former")
    return Verdict("reject", reason, evidence)
