"""Running hit rates of a replay by week, cheap enough to be looked at several times a second."""

from __future__ import annotations

from collections.abc import Iterable

from core.replay_judge import JudgedRequest
from core.report import POLICIES, hit_and_recall, week_of

Counts = tuple[float, int]


class Tally:
    """Hits and requests by surface, week and policy."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], dict[str, Counts]] = {}

    def add(self, requests: Iterable[JudgedRequest]) -> None:
        """Takes in judged requests; those without anything wanted do not count."""
        for request in requests:
            wanted = request.wanted
            if not wanted:
                continue
            key = (request.surface, week_of(request.served_at_ms))
            week = self._counts.setdefault(key, {})
            for policy in POLICIES:
                listed = request.lists.get(policy)
                if listed is not None:
                    hits, n = week.get(policy, (0.0, 0))
                    week[policy] = (hits + hit_and_recall(listed, wanted)[0], n + 1)

    def weeks(self) -> list[str]:
        """The weeks seen, in order."""
        return sorted({week for _, week in self._counts})

    def rate(self, surface: str, policy: str, week: str | None = None) -> float | None:
        """The hit rate of one week or of all, None when nothing was judged.

        >>> Tally().rate("home", "loop") is None
        True
        """
        hits, n = 0.0, 0
        for (its_surface, its_week), counts in self._counts.items():
            if its_surface == surface and week in (None, its_week) and policy in counts:
                hits += counts[policy][0]
                n += counts[policy][1]
        return hits / n if n else None
