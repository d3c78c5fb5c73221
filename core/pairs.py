"""Pairs two policies' answers to the same request, and what the differences add up to.

Both lists were judged against the same basket, so their difference needs far less traffic than a
split of it. It knows no gates and no pointer.
"""

from __future__ import annotations

import msgspec

from core.intervals import confidence_sequence
from core.settings import HOUR_MS

_KEPT_MS = 2 * HOUR_MS


class Half(msgspec.Struct, frozen=True, array_like=True):
    """One policy's answer to a request: which version gave it, whether it hit, was it degraded."""

    version: str
    hit: bool
    degraded: bool
    closed_ms: int


class Tally(msgspec.Struct):
    """Paired differences (rival less champion) on one surface."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    champion_hits: int = 0
    champion_degraded: int = 0
    rival_degraded: int = 0

    def add(self, champion: Half, rival: Half) -> None:
        """Takes in one request that both answered.

        >>> tally = Tally()
        >>> tally.add(Half("v1", True, False, 0), Half("v2", False, False, 0))
        >>> tally.n, tally.mean
        (1, -1.0)
        """
        difference = rival.hit - champion.hit
        self.n += 1
        self.total += difference
        self.squares += difference * difference
        self.champion_hits += champion.hit
        self.champion_degraded += champion.degraded
        self.rival_degraded += rival.degraded

    @property
    def mean(self) -> float:
        """Mean difference of hit rates, 0 before the first pair."""
        return self.total / self.n if self.n else 0.0

    def bounds(self, planned_n: float, alpha: float = 0.05) -> tuple[float, float]:
        """Bounds of the mean difference that may be looked at after every pair."""
        return confidence_sequence(self.total, self.squares, self.n, planned_n, alpha)


class Requests(msgspec.Struct):
    """Halves that wait for their other half, by "surface/request", at most two hours."""

    waiting: dict[str, dict[str, Half]] = {}

    def meet(self, key: str, policy: str, half: Half) -> dict[str, Half]:
        """Adds one answer; returns those of the other policies to the same request."""
        others = self.waiting.setdefault(key, {})
        if policy in others:
            return {}
        met = dict(others)
        others[policy] = half
        return met

    def forget(self, now_ms: int) -> None:
        """Drops what has waited too long, oldest first; it looks no further than the first to stay.

        >>> requests = Requests()
        >>> _ = requests.meet("a", "loop", Half("v1", True, False, 0))
        >>> _ = requests.meet("b", "loop", Half("v1", True, False, _KEPT_MS))
        >>> requests.forget(_KEPT_MS)
        >>> list(requests.waiting)
        ['b']
        """
        gone = []
        for key, halves in self.waiting.items():
            if max(half.closed_ms for half in halves.values()) > now_ms - _KEPT_MS:
                break
            gone.append(key)
        for key in gone:
            del self.waiting[key]
