"""The offline gate: whether a trained version may be offered, from paired held-out figures.

Every check says what was compared, with its 95 % interval, whole customers drawn anew. It knows no
model and no data, only numbers per request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.intervals import cluster_bootstrap
from core.off_policy import ESS_FLOOR, estimate
from schemas.models import Gate, GateCheck

MARGIN = 0.05
"""How much hit rate a version may seem to lose against the champion."""
MINIMUM_REQUESTS = 30
FLOOR_SHARE = 0.5
"""Own source on discover: at least this share of what plain popularity reaches."""
KEPT_HISTORY_SHARE = 0.3
"""How much of the champion's gain from knowing the history a version must have.

Measured: honest warm starts have 0.6 to 1.5 of it, those on shuffled labels 0.09 to 0.12.
"""
MINIMUM_GAIN = 0.1
"""Least gain from the history, in nats an item: honest versions have 0.2 to 0.7, shuffled 0.06."""
GRAPH_TOLERANCE = 1e-4
SLOWEST_MS = 20.0
LARGEST_BYTES = 64_000_000
ROUNDS = 1_000

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Compared:
    """One figure per held-out request of the candidate and of a rival; NaN does not count."""

    candidate: Floats
    rival: Floats
    customers: Sequence[str]

    def interval(self, seed: int) -> tuple[float, float, float, int]:
        """Mean paired difference, its bounds, and how many requests count."""
        difference = self.candidate - self.rival
        counted = np.flatnonzero(~np.isnan(difference))
        names = [self.customers[int(i)] for i in counted]
        random = np.random.default_rng(seed)
        mean, low, high = cluster_bootstrap(difference[counted], names, random, ROUNDS)
        return mean, low, high, len(counted)


@dataclass(frozen=True)
class Explored:
    """Exploring answers: whether the drawn item was bought, and by whom it was asked."""

    rewards: Floats
    customers: Sequence[str]


def not_worse(name: str, compared: Compared, seed: int, margin: float = MARGIN) -> GateCheck:
    """Passes when the lower bound of the difference lies above minus the margin.

    >>> same = Compared(np.ones(40), np.ones(40), [str(i) for i in range(40)])
    >>> not_worse("discover", same, seed=1).passed
    True
    """
    mean, low, high, n = compared.interval(seed)
    passed = n >= MINIMUM_REQUESTS and low > -margin
    detail = "superior" if passed and low > 0 else ""
    return GateCheck(
        name=name, passed=passed, value=mean, threshold=-margin, low=low, high=high, n=n,
        detail=detail,
    )  # fmt: skip


def reads_history(name: str, gain: Compared, champions: Compared | None, seed: int) -> GateCheck:
    """Passes when the version says more about a basket from its own customer's history.

    `gain` holds the log-probability of what was bought, from the own history and from another
    customer's. A version trained on shuffled labels learns popularity alone and gains nothing.
    The gain must reach a floor, and with a champion also a share of the champion's.
    """
    mean, low, high, n = gain.interval(seed)
    threshold = MINIMUM_GAIN
    if champions is not None:
        threshold = max(threshold, KEPT_HISTORY_SHARE * champions.interval(seed)[0])
    passed = n >= MINIMUM_REQUESTS and low > 0.0 and mean >= threshold
    return GateCheck(
        name=name, passed=passed, value=mean, threshold=threshold, low=low, high=high, n=n
    )


def above_share(name: str, compared: Compared, seed: int, share: float = FLOOR_SHARE) -> GateCheck:
    """Passes when the candidate's mean reaches this share of the rival's.

    >>> half = Compared(np.full(40, 0.4), np.full(40, 1.0), [str(i) for i in range(40)])
    >>> above_share("floor", half, seed=1).passed
    False
    """
    mean, low, high, n = Compared(
        compared.candidate, share * compared.rival, compared.customers
    ).interval(seed)
    passed = n >= MINIMUM_REQUESTS and mean >= 0.0
    return GateCheck(
        name=name, passed=passed, value=mean, threshold=0.0, low=low, high=high, n=n,
        detail=f"difference to {share:g} of the rival",
    )  # fmt: skip


def slice_not_worse(name: str, compared: Compared, seed: int, margin: float) -> GateCheck:
    """As `not_worse`, for a protected part of the requests; too few of them judge nothing.

    A part is small, so its margin is wide: it guards against a version that pays for its gain with
    one group's loss.

    >>> few = Compared(np.zeros(5), np.ones(5), ["a"] * 5)
    >>> slice_not_worse("cold", few, 1, 0.2).detail
    'not judged: 5 < 30 requests'
    """
    mean, low, high, n = compared.interval(seed) if len(compared.customers) else (0.0, 0.0, 0.0, 0)
    few = n < MINIMUM_REQUESTS
    detail = f"not judged: {n} < {MINIMUM_REQUESTS} requests" if few else ""
    return GateCheck(
        name=name, passed=few or low > -margin, value=mean, threshold=-margin, low=low, high=high,
        n=n, detail=detail,
    )  # fmt: skip


def keeps_share(name: str, share: float, champions: float, kept: float) -> GateCheck:
    """Passes when a group keeps this much of the exposure that the champion gives it.

    *Source:* Singh and Joachims, Fairness of Exposure in Rankings, 2018.

    >>> keeps_share("tail", 0.06, 0.1, 0.5).passed, keeps_share("tail", 0.04, 0.1, 0.5).passed
    (True, False)
    """
    threshold = kept * champions
    detail = f"champion {champions:.4f}"
    return GateCheck(
        name=name, passed=share >= threshold, value=share, threshold=threshold, detail=detail
    )


def off_policy(
    name: str, candidate: Floats, champion: Floats, explored: Explored, seed: int
) -> GateCheck:
    """Fails when the candidate would surely sell less than the champion in exploring answers.

    `candidate` and `champion` are importance weights per exploring answer. Below the floor of the
    effective sample size the estimate counts for nothing, and that is on record.

    >>> explored = Explored(np.array([1.0, 0.0]), ["a", "b"])
    >>> check = off_policy("off", np.array([20.0, 20.0]), np.array([20.0, 0.0]), explored, seed=1)
    >>> check.passed, check.value, check.detail
    (True, 1.0, 'not judged: ESS 1 < 100')
    """
    theirs, mine = (estimate(each, explored.rewards) for each in (champion, candidate))
    ess = min(mine.ess, theirs.ess)
    if not (mine.counts and theirs.counts):
        return GateCheck(
            name=name, passed=True, value=ess, threshold=ESS_FLOOR, n=mine.n,
            detail=f"not judged: ESS {ess:.0f} < {ESS_FLOOR:.0f}",
        )  # fmt: skip
    earned = Compared(candidate * explored.rewards, champion * explored.rewards, explored.customers)
    mean, low, high, n = earned.interval(seed)
    detail = f"ESS {ess:.0f}, IPS {mine.ips:.4f} and {theirs.ips:.4f}, SNIPS {mine.snips:.4f}"
    return GateCheck(
        name=name, passed=high >= 0.0, value=mean, threshold=0.0, low=low, high=high, n=n,
        detail=f"{detail} and {theirs.snips:.4f}",
    )  # fmt: skip


def at_most(name: str, value: float, threshold: float) -> GateCheck:
    """Passes when a measured cost is within its budget.

    >>> at_most("graph_bytes", 5.0, 10.0).passed, at_most("graph_bytes", float("nan"), 1.0).passed
    (True, False)
    """
    finite = value if np.isfinite(value) else 1e300
    return GateCheck(name=name, passed=finite <= threshold, value=finite, threshold=threshold)


def not_below(name: str, value: float, threshold: float) -> GateCheck:
    """Passes when a measured gain reaches its floor.

    >>> not_below("gain", 0.2, 0.1).passed, not_below("gain", float("nan"), 0.1).passed
    (True, False)
    """
    finite = value if np.isfinite(value) else -1e300
    return GateCheck(name=name, passed=finite >= threshold, value=finite, threshold=threshold)


def verdict(checks: list[GateCheck]) -> Gate:
    """The gate as a whole: passed when every check passed, else the names of those that failed.

    >>> verdict([]).passed
    False
    """
    failed = [check.name for check in checks if not check.passed]
    reason = "failed: " + ", ".join(failed) if failed else ""
    if not checks:
        return Gate(passed=False, reason="nothing was checked")
    return Gate(passed=not failed, checks=checks, reason=reason)
