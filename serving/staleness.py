"""How old the state is: since when everything that the topics had then has been read.

Every half second it marks where the topics end; a mark that has been reached says how old the state
is. It asks the broker nothing that the reader does not know already, so a broker that is away makes
nothing look old.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

LOOK_S = 0.5
MOST_MARKS = 1_000  # further ones are set again once these are reached
Places = Mapping[tuple[str, int], int]


class Reading(Protocol):
    """A reader of partitions."""

    def ends(self) -> Places:
        """Where each partition ends, as far as is known, by (topic, partition)."""

    def positions(self) -> Places:
        """The next offset to be read of each."""


class Staleness:
    """Seconds that the state lags its topics; looked at by the thread that reads them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._level_s = clock()
        self._looked_s = self._level_s - LOOK_S
        self._marks: deque[tuple[float, Places]] = deque()

    @property
    def lag_s(self) -> float:
        """Time since the state held all there was; below a second when it keeps up."""
        return self._clock() - self._level_s

    def look(self, reading: Reading) -> None:
        """Compares what has been read with the mark; to be called after every poll."""
        now_s = self._clock()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        if len(self._marks) < MOST_MARKS:
            self._marks.append((now_s, reading.ends()))
        positions = reading.positions()
        while self._marks and _reached(positions, self._marks[0][1]):
            self._level_s, _ = self._marks.popleft()


def _reached(positions: Places, ends: Places) -> bool:
    return all(positions.get(place, 0) >= end for place, end in ends.items())
