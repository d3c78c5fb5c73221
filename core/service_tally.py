"""How a version's answers came: degraded, slow, how long. Knows neither versions nor decisions."""

from __future__ import annotations

import math

import msgspec

from core.metric_cells import quantile
from core.sequential import Share, surely_above

MOST_ADDED = 0.02
"""How many more of its answers may be degraded, or over the latency budget, than the other's."""
FEWEST_ANSWERS = 300
SLOWER_BY = 1.5
SLOWER_MS = 5.0
"""A 99th percentile is worse when it is surely half as long again, and 5 ms longer."""
_LATENCY_BASE = math.log(1.05)


class ServiceTally(msgspec.Struct):
    """Counts over answers; latency in buckets 5 % wide, as the metrics have them."""

    answers: int = 0
    degraded: int = 0
    slow: int = 0
    latency: dict[int, int] = {}

    def add(self, degraded: bool, latency_ms: float, budget_ms: float) -> None:
        """Takes in one answer."""
        self.answers += 1
        self.degraded += degraded
        self.slow += latency_ms > budget_ms
        bucket = math.ceil(math.log(max(latency_ms, 1e-3)) / _LATENCY_BASE)
        self.latency[bucket] = self.latency.get(bucket, 0) + 1

    def figures(self, name: str) -> dict[str, float]:
        """Answers, degraded share and 99th percentile for a record's evidence.

        >>> tally = ServiceTally()
        >>> tally.add(True, 1.0, 100.0)
        >>> tally.figures("canary")
        {'canary_answers': 1.0, 'canary_degraded_share': 1.0, 'canary_latency_p99': 1.0}
        """
        if not self.answers:
            return {f"{name}_answers": 0.0}
        return {
            f"{name}_answers": float(self.answers),
            f"{name}_degraded_share": self.degraded / self.answers,
            f"{name}_latency_p99": quantile(self.latency, 99).value,
        }


def worse_service(new: ServiceTally, old: ServiceTally, alpha: float, budget_ms: float) -> str:
    """Why answers are surely served worse than the other's, or nothing; any look is allowed."""
    if min(new.answers, old.answers) < FEWEST_ANSWERS:
        return ""
    if surely_above(_share(new.degraded, new), _share(old.degraded, old), MOST_ADDED, alpha):
        return "more answers are degraded"
    if surely_above(_share(new.slow, new), _share(old.slow, old), MOST_ADDED, alpha):
        return f"more answers take longer than {budget_ms:g} ms"
    return ""


def slower_tail(new: ServiceTally, old: ServiceTally) -> str:
    """Why the slowest hundredth is surely slower, for two groups served at the same time."""
    if min(new.answers, old.answers) < FEWEST_ANSWERS:
        return ""
    least, most = quantile(new.latency, 99).low, quantile(old.latency, 99).high
    if least > SLOWER_BY * most and least > most + SLOWER_MS:
        return f"the 99th percentile of latency is above {least:.0f} ms, not at most {most:.0f}"
    return ""


def _share(hits: int, tally: ServiceTally) -> Share:
    return Share(hits, tally.answers)
