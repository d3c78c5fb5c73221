"""What one visitor partition saw, by hour of event time, and who did too much within a minute.

Told record by record in event-time order; what comes late counts for the hour at hand. A burst is
counted on the visitor's own facts, so that it costs no memory of its own and a restart goes on
exactly.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from schemas.ids import derived_id
from schemas.outcomes import HourSeen, TrafficSeen

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
_MOST_BURSTS = 1_000


class Paced(Protocol):
    """A visitor's facts, as far as the pace of events needs them."""

    minute: int
    in_minute: int


class TrafficTally(msgspec.Struct, array_like=True):
    """The hour at hand; hours before `said_hour` were said."""

    said_hour: int = -1
    hour: int = -1
    events: int = 0
    answers: int = 0
    refused: int = 0
    over: list[HourSeen] = []
    bursts: dict[str, int] = {}

    def at(self, at_ms: int) -> None:
        """Moves on to the hour of this time, if it is a later one."""
        hour = at_ms // HOUR_MS
        if hour > self.hour:
            self._turn(hour)

    def burst(self, visitor_id: str, count: int) -> None:
        """Notes a visitor who has reached `count` events within a minute."""
        if visitor_id in self.bursts or len(self.bursts) < _MOST_BURSTS:
            self.bursts[visitor_id] = max(count, self.bursts.get(visitor_id, 0))

    def close(self, closed_ms: int, task: str, partition: int) -> TrafficSeen | None:
        """What there is to say once event time is closed up to `closed_ms`.

        >>> tally = TrafficTally()
        >>> tally.at(5 * HOUR_MS)
        >>> tally.events += 2
        >>> tally.close(6 * HOUR_MS - 1, "recommend", 0) is None
        True
        >>> said = tally.close(8 * HOUR_MS, "recommend", 0)
        >>> said.until_hour, said.hours[0].hour, said.hours[0].events
        (8, 5, 2)
        """
        if closed_ms < 0:
            return None
        self.at(closed_ms)
        if self.said_hour < 0 and not (self.over or self.bursts):
            self.said_hour = self.hour
        if self.hour <= self.said_hour and not self.bursts:
            return None
        hours, bursts = self.over, self.bursts
        self.said_hour, self.over, self.bursts = self.hour, [], {}
        named = ",".join(sorted(bursts))
        return TrafficSeen(
            traffic_id=derived_id("traffic", task, str(partition), str(closed_ms), named),
            event_time_ms=closed_ms,
            task=task,
            partition=partition,
            until_hour=self.hour,
            hours=hours,
            bursts=bursts,
        )

    def _turn(self, hour: int) -> None:
        if self.events or self.answers or self.refused:
            found = HourSeen(self.hour, self.events, self.answers, self.refused)
            self.over = [*self.over, found]
        self.events = self.answers = self.refused = 0
        self.hour = hour


def keeps_pace(visitor: Paced, at_ms: int, most: int) -> bool:
    """Counts one event of a visitor; False from the moment it has `most` within one minute.

    >>> class Facts(msgspec.Struct):
    ...     minute: int = -1
    ...     in_minute: int = 0
    >>> facts = Facts()
    >>> [keeps_pace(facts, at, 3) for at in (0, 1, 2, 3, 60_000)]
    [True, True, False, False, True]
    """
    minute = at_ms // MINUTE_MS
    if minute != visitor.minute:
        visitor.minute, visitor.in_minute = minute, 0
    visitor.in_minute += 1
    return visitor.in_minute < most
