"""From candidates in order to the list that is shown: pins, limits, diversity, one drawn place.

Pure and generic: it knows candidates by their number in the pool, no items, rules or visitors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

REACH = 20
"""From how many candidates the drawn place of an exploring answer is drawn, at most."""


@dataclass(frozen=True)
class Cap:
    """At most `most` of each group in a list; a group below 0 is no group; one per candidate."""

    groups: Sequence[int]
    most: int


@dataclass(frozen=True)
class Arrangement:
    """All candidates as they are to be shown: the first k are the list.

    `place`, counted from 0, is the last that is not pinned; an exploring answer draws it evenly
    from `choices`, the first of which stands there otherwise. The choices follow from the other
    places alone, so 1 / len(choices) is the chance of each of them given the rest of the list.
    """

    order: list[int]
    place: int
    choices: list[int]
    pinned: frozenset[int] = field(default_factory=frozenset)


def arranged(
    order: Sequence[int], k: int, pins: Mapping[int, int], caps: Sequence[Cap]
) -> Arrangement:
    """Arranges candidates that come in the wanted order.

    `pins` says which candidate stands in which place, counted from 0; they count for the caps and
    keep their place whatever these say. Candidates beyond a cap move behind those within all.

    >>> found = arranged([0, 1, 2, 3, 4], 3, {0: 4}, [Cap([7, 7, 8, 8, 9], 1)])
    >>> found.order, found.place, found.choices
    ([4, 0, 2, 1, 3], 2, [2, 3])
    """
    pinned = {candidate: place for place, candidate in sorted(pins.items()) if place < k}
    free = [candidate for candidate in order if candidate not in pinned]
    tally = _Tally(caps, pinned)
    wanted = k - len(pinned)
    chosen, behind, at = _first(free, max(wanted - 1, 0), tally)
    following = free[at:]
    if wanted <= 0:
        return Arrangement(_placed(pinned, [], k) + free, -1, [], frozenset(pinned))
    choices = list(islice(filter(tally.admits, following), REACH))
    if len(chosen) < wanted - 1 or not choices:
        # Too few are within the caps: the others fill the list, as they come.
        fill = wanted - 1 - len(chosen)
        beyond = behind + following
        chosen, choices = chosen + beyond[:fill], beyond[fill : fill + REACH]
    listed = _placed(pinned, chosen + choices[:1], k)
    shown = set(listed)
    rest = [candidate for candidate in free if candidate not in shown]
    place = listed.index(choices[0]) if choices else -1
    return Arrangement(listed + rest, place, choices, frozenset(pinned))


class _Tally:
    """How many of each group are listed."""

    def __init__(self, caps: Sequence[Cap], listed: Mapping[int, int]) -> None:
        self._caps = caps
        self._counts: list[Counter[int]] = [Counter() for _ in caps]
        for candidate in listed:
            self.add(candidate)

    def admits(self, candidate: int) -> bool:
        if not self._caps:
            return True
        for cap, count in zip(self._caps, self._counts, strict=True):
            group = cap.groups[candidate]
            if group >= 0 and count[group] >= cap.most:
                return False
        return True

    def add(self, candidate: int) -> None:
        for cap, count in zip(self._caps, self._counts, strict=True):
            if cap.groups[candidate] >= 0:
                count[cap.groups[candidate]] += 1


def _first(free: Sequence[int], wanted: int, tally: _Tally) -> tuple[list[int], list[int], int]:
    """Those chosen, those beyond a cap, and how far was looked."""
    chosen: list[int] = []
    behind: list[int] = []
    at = 0
    while at < len(free) and len(chosen) < wanted:
        candidate = free[at]
        at += 1
        if tally.admits(candidate):
            tally.add(candidate)
            chosen.append(candidate)
        else:
            behind.append(candidate)
    return chosen, behind, at


def _placed(pinned: Mapping[int, int], chosen: Sequence[int], k: int) -> list[int]:
    """Pins in their places, the others around them; a short list closes up."""
    at = {place: candidate for candidate, place in pinned.items()}
    others = iter(chosen)
    found = [at[place] if place in at else next(others, -1) for place in range(k)]
    return [candidate for candidate in found if candidate >= 0]
