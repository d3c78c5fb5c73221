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
    """The hour at hand, whole hours not said yet, and refusals, which may be of later hours.

    `turns_ms` is when the hour at hand is over; hours before `said_hour` were said.
    """

    said_hour: int = -1
    hour: int = -1
    turns_ms: int = 0
    events: int = 0
    answers: int = 0
    over: list[HourSeen] = []
    refusals: dict[int, int] = {}
    bursts: dict[str, int] = {}

    def turn(self, at_ms: int) -> None:
        """Moves on to the hour of this time; asked when it has reached `turns_ms`."""
        if self.events or self.answers:
            self.over = [*self.over, HourSeen(self.hour, self.events, self.answers)]
            self.events = self.answers = 0
        self.hour = at_ms // HOUR_MS
        self.turns_ms = (self.hour + 1) * HOUR_MS

    def refuse(self, at_ms: int) -> None:
        """Counts one refused record; it has no time of its own but what its topic had reached."""
        hour = max(at_ms // HOUR_MS, 0)
        self.refusals[hour] = self.refusals.get(hour, 0) + 1

    def burst(self, visitor_id: str, count: int) -> None:
        """Notes a visitor who has reached `count` events within a minute."""
        if visitor_id in self.bursts or len(self.bursts) < _MOST_BURSTS:
            self.bursts[visitor_id] = max(count, self.bursts.get(visitor_id, 0))

    def close(self, closed_ms: int, task: str, partition: int) -> TrafficSeen | None:
        """What there is to say once event time is closed up to `closed_ms`.

        >>> tally = TrafficTally()
        >>> tally.turn(5 * HOUR_MS)
        >>> tally.events += 2
        >>> tally.close(6 * HOUR_MS - 1, "recommend", 0) is None
        True
        >>> said = tally.close(8 * HOUR_MS, "recommend", 0)
        >>> said.until_hour, said.hours[0].hour, said.hours[0].events
        (8, 5, 2)
        """
        if closed_ms < 0:
            return None
        if closed_ms >= self.turns_ms:
            self.turn(closed_ms)
        if self.said_hour < 0:
            self.said_hour = self.over[0].hour if self.over else self.hour
        if self.hour <= self.said_hour and not self.bursts:
            return None
        hours, bursts = self._whole_hours(), self.bursts
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

    def _whole_hours(self) -> list[HourSeen]:
        found = {seen.hour: seen for seen in self.over}
        for hour in sorted(hour for hour in self.refusals if hour < self.hour):
            counted = max(hour, self.said_hour)
            seen = found.get(counted, HourSeen(counted))
            refused = seen.refused + self.refusals.pop(hour)
            found[counted] = msgspec.structs.replace(seen, refused=refused)
        return [found[hour] for hour in sorted(found)]


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
        visitor.minute, visitor.in_minute = minute, 1
        return most > 1
    visitor.in_minute = count = visitor.in_minute + 1
    return count < most
