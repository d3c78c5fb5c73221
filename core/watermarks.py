"""How far event time is closed on one partition, and inputs merged in event-time order.

Barrier time: watermark records say it, every source must have passed. Live time: the newest event
time less the lateness; a source that is idle in wall time does not hold it back. Knows no clock:
wall time is an argument.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

NEVER_MS = -1
_FOREVER_MS = 1 << 62
NEAR_MS = 86_400_000  # event time this close to wall time is taken for live
Payload = TypeVar("Payload")


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """A watermark record, from whichever topic."""

    event_time_ms: int
    barrier: int
    run_id: str
    final: bool


class Source(msgspec.Struct, array_like=True):
    """One input topic of a partition: the newest it has shown."""

    newest_ms: int = NEVER_MS
    last_wall_ms: int = NEVER_MS
    mark: Mark | None = None


class Clock(msgspec.Struct, array_like=True):
    """The watermark of one partition over its sources. Never goes back within a run."""

    sources: dict[str, Source]
    watermark_ms: int = NEVER_MS
    run_id: str = ""
    passed: Mark | None = None

    @property
    def by_barriers(self) -> bool:
        """True while a run's barriers, not the wall clock, say what is closed."""
        return self.run_id != ""

    def saw(self, source: str, event_time_ms: int, wall_ms: int) -> None:
        """Notes a record of a source."""
        place = self.sources[source]
        if event_time_ms > place.newest_ms:
            place.newest_ms = event_time_ms
        place.last_wall_ms = wall_ms

    def mark(self, source: str, mark: Mark) -> Mark | None:
        """Notes a watermark record; returns what every source has now passed, if that is new.

        The first mark of a run begins barrier time; after the final one live time goes on, from
        what comes then.
        """
        if mark.run_id != self.run_id:
            if self.passed is not None and mark.run_id == self.passed.run_id:
                return None  # a repeat of a run that is over
            self._begin(mark.run_id)
        self.sources[source].mark = mark
        marks = [place.mark for place in self.sources.values()]
        if any(each is None or each.run_id != mark.run_id for each in marks):
            return None
        slowest = min((each for each in marks if each), key=lambda each: each.event_time_ms)
        if slowest.event_time_ms <= self.watermark_ms and not slowest.final:
            return None
        self.watermark_ms = max(self.watermark_ms, slowest.event_time_ms)
        self.passed = slowest
        if slowest.final:
            self._end()
        return slowest

    def live(self, wall_ms: int, lateness_ms: int, idle_ms: int, near_ms: int) -> int:
        """The watermark in live time at `wall_ms`; unchanged in barrier time.

        Sources seen within `idle_ms` hold it back. When none was, wall time moves it on, so that
        the last windows of a quiet shop close too, but only if it is within `near_ms` of wall time:
        records from the past do not make it jump to today.
        """
        if self.by_barriers:
            return self.watermark_ms
        seen = [place for place in self.sources.values() if place.newest_ms > NEVER_MS]
        if not seen:
            return self.watermark_ms
        active = [place for place in seen if wall_ms - place.last_wall_ms < idle_ms]
        if active:
            reached = min(place.newest_ms for place in active) - lateness_ms
        else:
            reached = max(place.newest_ms for place in seen) - lateness_ms
            reached = max(reached, self.watermark_ms)
            if wall_ms - reached <= near_ms:
                reached = max(reached, wall_ms - idle_ms - lateness_ms)
        self.watermark_ms = max(self.watermark_ms, reached)
        return self.watermark_ms

    def _begin(self, run_id: str) -> None:
        self.run_id = run_id
        self.watermark_ms = NEVER_MS
        for place in self.sources.values():
            place.mark = None

    def _end(self) -> None:
        self.run_id = ""
        self.watermark_ms = NEVER_MS
        for place in self.sources.values():
            place.mark = None
            place.newest_ms = NEVER_MS


def clock(sources: Sequence[str]) -> Clock:
    """A clock that has seen nothing.

    >>> each = clock(["events", "predictions"])
    >>> each.mark("events", Mark(10, 0, "run", False))
    >>> each.mark("predictions", Mark(10, 0, "run", False)).event_time_ms
    10
    """
    return Clock(sources={name: Source() for name in sources})


class Merge(Generic[Payload]):
    """Inputs held until the watermark closes them, given out by (event time, id)."""

    def __init__(self) -> None:
        self._held: list[tuple[int, str, int, Payload]] = []
        self._count = 0
        self._least_ms = _FOREVER_MS

    def __len__(self) -> int:
        return len(self._held)

    def put(self, event_time_ms: int, record_id: str, payload: Payload) -> None:
        """Holds one input."""
        self._count += 1
        self._held.append((event_time_ms, record_id, self._count, payload))
        if event_time_ms < self._least_ms:
            self._least_ms = event_time_ms

    def take(self, watermark_ms: int) -> list[tuple[int, Payload]]:
        """What is closed at the watermark, in order, as (event time, payload).

        >>> merge = Merge()
        >>> for at, name in ((3, "c"), (1, "b"), (1, "a")):
        ...     merge.put(at, name, name)
        >>> merge.take(2), len(merge)
        ([(1, 'a'), (1, 'b')], 1)
        """
        if watermark_ms < self._least_ms:
            return []
        held = self._held
        held.sort()  # nearly sorted from the last time on: what came since is merged in
        end = bisect_left(held, (watermark_ms + 1,))
        taken = [(at_ms, payload) for at_ms, _, _, payload in held[:end]]
        del held[:end]
        self._least_ms = held[0][0] if held else _FOREVER_MS
        return taken

    def held(self) -> list[Payload]:
        """What is held, in no order."""
        return [payload for _, _, _, payload in self._held]
