"""The canary: which visitors it answers, and what its answers and the champion's add up to.

A visitor is in or out by a hash of the visitor and the version, so it stays in as the share grows,
and other visitors are drawn for the next version. Answers count for the side a visitor belongs to,
whoever answered: a canary that fails is not relieved of its failures. It judges nothing.
"""

from __future__ import annotations

import hashlib

import msgspec

from core.sequential import Share
from core.service_tally import ServiceTally
from schemas.models import ModelPointer
from schemas.outcomes import JudgedList

STEPS = (1, 5, 25, 50)
"""Percent of visitors, in order; after the last the version is promoted to all."""
SETTLING_MS = 600_000
"""How long replicas may take to follow a pointer before another version's answers are counted."""
KNOWN_VISITORS = 10_000


def in_canary(visitor_id: str, version: str, percent: float) -> bool:
    """Whether this visitor is answered by the canary: sticky, and independent of partitions.

    >>> [in_canary("v-1", "m2", percent) for percent in (0, 1, 50, 100)]
    [False, False, True, True]
    """
    return draw(visitor_id, version) % 10_000 < percent * 100


def draw(visitor_id: str, salt: str) -> int:
    """63 even bits of a visitor under a salt."""
    text = f"canary/{salt}/{visitor_id}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def canary_of(pointer: ModelPointer) -> dict[str, str]:
    """The canary of a pointer with its share, by task, as `Progress` says it.

    >>> canary_of(ModelPointer(task="t", sequence=1, event_time_ms=0, champion="v1",
    ...     canary="v2", canary_percent=5))
    {'t': 'v2 5%'}
    """
    if pointer.canary is None or not pointer.canary_percent:
        return {}
    return {pointer.task: f"{pointer.canary} {pointer.canary_percent}%"}


class Side(msgspec.Struct):
    """Hit rate of one side on one surface."""

    hits: int = 0
    n: int = 0

    @property
    def share(self) -> Share:
        """Its hits of its judged answers."""
        return Share(self.hits, self.n)


class Arms(msgspec.Struct):
    """Both sides on one surface; sums over the first visitors tell how alike one's answers are."""

    canary: Side = msgspec.field(default_factory=Side)
    champion: Side = msgspec.field(default_factory=Side)
    people: dict[int, tuple[int, int]] = {}
    known: Side = msgspec.field(default_factory=Side)
    hits2: int = 0
    hits_n: int = 0
    n2: int = 0

    def add(self, person: int, hit: bool, canary: bool) -> None:
        """Takes in one judged answer."""
        side = self.canary if canary else self.champion
        side.hits += hit
        side.n += 1
        if person not in self.people and len(self.people) >= KNOWN_VISITORS:
            return
        hits, n = self.people.get(person, (0, 0))
        more = hits + hit
        self.hits2 += more * more - hits * hits
        self.hits_n += more * (n + 1) - hits * n
        self.n2 += 2 * n + 1
        self.people[person] = more, n + 1
        self.known.hits += hit
        self.known.n += 1

    def spread(self) -> float:
        """Design effect of visitors who answer repeatedly: 1 when their answers are independent.

        Σ(hᵢ − p nᵢ)² / (p(1−p) Σnᵢ), never below 1. Source: Kish 1965, section 8.2.

        >>> arms = Arms()
        >>> for person in range(20):
        ...     for _ in range(5):
        ...         arms.add(person, person % 2 == 0, True)
        >>> arms.spread()
        5.0
        """
        hits, n = self.known.share
        if not 0 < hits < n:
            return 1.0
        rate = hits / n
        between = self.hits2 - 2 * rate * self.hits_n + rate * rate * self.n2
        return max(1.0, between / (rate * (1 - rate) * n))


class Canary(msgspec.Struct):
    """One step under way: which share, since when, and what its answers add up to."""

    version: str
    percent: int
    from_ms: int
    surfaces: dict[str, Arms] = {}
    canary: ServiceTally = msgspec.field(default_factory=ServiceTally)
    champion: ServiceTally = msgspec.field(default_factory=ServiceTally)
    visitors: dict[int, bool] = {}
    expected: int = 0
    misrouted: int = 0

    def asks(self, visitor_id: str) -> bool:
        """Whether this visitor is to be answered by the version under test."""
        return in_canary(visitor_id, self.version, self.percent)

    def served(self, judged: JudgedList, latency_budget_ms: float) -> None:
        """Takes in how an answer was served; those given before the step do not count."""
        if judged.served_at_ms < self.from_ms:
            return
        inside = self.asks(judged.visitor_id)
        if len(self.visitors) < KNOWN_VISITORS:
            self.visitors.setdefault(draw(judged.visitor_id, self.version), inside)
        service = self.canary if inside else self.champion
        service.add(judged.degraded, judged.latency_ms, latency_budget_ms)
        if inside and judged.served_at_ms >= self.from_ms + SETTLING_MS:
            self.expected += 1
            self.misrouted += judged.model_version not in ("", self.version)

    def judged(self, judged: JudgedList, hit: bool) -> None:
        """Takes in what an answer of the step came to, at the final age."""
        if judged.served_at_ms >= self.from_ms:
            inside = self.asks(judged.visitor_id)
            person = draw(judged.visitor_id, self.version)
            self.surfaces.setdefault(judged.surface, Arms()).add(person, hit, inside)

    def split(self) -> list[int]:
        """Distinct visitors seen on the canary's side and on the champion's."""
        inside = sum(self.visitors.values())
        return [inside, len(self.visitors) - inside]
