"""What the visitor partitions saw, put together by hour: collapse, shares that jump, bursts.

An hour is judged once every partition that ever spoke is past it, so that a worker that lags delays
the judgement and raises no alarm. It keeps who did too much within a minute: their answers and
orders are no evidence about shoppers.
"""

from __future__ import annotations

import msgspec

from core.alerts import Condition
from core.anomalies_shares import ShareHours
from core.anomalies_traffic import TrafficHours
from core.settings import DAY_MS, HOUR_MS
from schemas.outcomes import BasketSeen, HourSeen, TrafficSeen

_LONGEST_GAP_H = 9 * 168
_MOST_SUSPECTS = 10_000
_LEFT_OUT_MS = DAY_MS


def _refused() -> ShareHours:
    return ShareHours(least_rise=0.2, whatever=0.5)


def _unattributed() -> ShareHours:
    return ShareHours(least_rise=0.2)


class TrafficState(msgspec.Struct):
    """Everything that is needed to go on exactly.

    `until` says per partition which hour it has reached, `open` sums the hours not judged yet,
    `bought` and `lost` count items of the hour of the newest order, `suspects` maps visitors to the
    span of event time in which they are left out.
    """

    until: dict[int, int] = {}
    next_hour: int = -1
    open: dict[int, HourSeen] = {}
    events: TrafficHours = msgspec.field(default_factory=TrafficHours)
    answers: TrafficHours = msgspec.field(default_factory=TrafficHours)
    refused: ShareHours = msgspec.field(default_factory=_refused)
    unattributed: ShareHours = msgspec.field(default_factory=_unattributed)
    bought_hour: int = -1
    bought: int = 0
    lost: int = 0
    suspects: dict[str, tuple[int, int]] = {}
    burst_ms: int = -1


class TrafficWatch:
    """The watch over all partitions of one task."""

    def __init__(self, state: TrafficState | None = None) -> None:
        self.state = state or TrafficState()

    def seen(self, record: TrafficSeen) -> list[Condition]:
        """Takes in what one partition says; conditions of the hours that are whole now."""
        state = self.state
        if state.next_hour < 0 or record.until_hour - state.next_hour > _LONGEST_GAP_H:
            first = min((each.hour for each in record.hours), default=record.until_hour)
            state.next_hour = max(first, record.until_hour - _LONGEST_GAP_H)
        before = state.until.get(record.partition, -1)
        state.until[record.partition] = max(before, record.until_hour)
        for each in record.hours:
            if each.hour >= state.next_hour:
                known = state.open.get(each.hour)
                state.open[each.hour] = each if known is None else _sum(known, each)
        conditions = self._bursts(record)
        for hour in range(state.next_hour, min(state.until.values())):
            conditions.extend(self._judge(state.open.pop(hour, HourSeen(hour))))
            state.next_hour = hour + 1
        return conditions

    def ordered(self, order: BasketSeen) -> list[Condition]:
        """Takes in one order; a condition of the hour before its own when it begins a new one."""
        state, hour, found = self.state, order.event_time_ms // HOUR_MS, None
        if hour > state.bought_hour:
            counts = (state.bought_hour, state.lost, state.bought)
            found = _jump("unattributed_jumped", "items", state.unattributed, counts)
            state.bought_hour, state.bought, state.lost = hour, 0, 0
        state.bought += len(order.item_ids)
        state.lost += order.unattributed
        return [] if found is None else [found]

    def leaves_out(self, visitor_id: str, at_ms: int) -> bool:
        """Whether a visitor's answer or order at this time is no evidence about shoppers.

        A day before and after a burst: a bot is not known at once, nor only while it is fast.
        """
        span = self.state.suspects.get(visitor_id)
        return span is not None and span[0] <= at_ms <= span[1]

    def close(self, now_ms: int) -> list[Condition]:
        """Whether bursts go on; nobody is suspected for ever."""
        state = self.state
        if state.burst_ms < 0:
            return []
        state.suspects = {
            visitor: span
            for visitor, span in state.suspects.items()
            if now_ms <= span[1] + _LEFT_OUT_MS
        }
        active = now_ms <= state.burst_ms
        if not active and not state.suspects:
            state.burst_ms = -1
        return [Condition(name="burst", scope="visitors", active=active, event_time_ms=now_ms)]

    def _bursts(self, record: TrafficSeen) -> list[Condition]:
        if not record.bursts:
            return []
        state, at_ms = self.state, record.event_time_ms
        state.burst_ms = max(state.burst_ms, at_ms)
        for visitor in sorted(record.bursts):
            first = state.suspects.pop(visitor, (at_ms - _LEFT_OUT_MS, 0))[0]
            state.suspects[visitor] = (first, at_ms + _LEFT_OUT_MS)
        for visitor in list(state.suspects)[: len(state.suspects) - _MOST_SUSPECTS]:
            del state.suspects[visitor]
        most = max(record.bursts.values())
        return [
            Condition(
                name="burst",
                scope="visitors",
                active=True,
                event_time_ms=at_ms,
                summary=f"{len(record.bursts)} visitors reached {most} events within a minute",
                evidence={"visitors": float(len(record.bursts)), "events_a_minute": float(most)},
            )
        ]

    def _judge(self, seen: HourSeen) -> list[Condition]:
        state = self.state
        records = seen.events + seen.answers + seen.refused
        found = [
            _collapse("events", state.events, seen.hour, seen.events),
            _collapse("answers", state.answers, seen.hour, seen.answers),
            _jump("refused_jumped", "records", state.refused, (seen.hour, seen.refused, records)),
        ]
        return [condition for condition in found if condition is not None]


def _collapse(scope: str, series: TrafficHours, hour: int, count: int) -> Condition | None:
    verdict = series.add(hour, count)
    window = series.newest() if verdict is not None else None
    if verdict is None or window is None:
        return None
    hours = window.end - window.start
    return Condition(
        name="traffic_collapsed",
        scope=scope,
        active=verdict,
        event_time_ms=(hour + 1) * HOUR_MS,
        summary=f"{window.actual} {scope} in {hours} h where {window.expected:.0f} are usual",
        evidence={
            "actual": float(window.actual),
            "expected": round(window.expected, 3),
            "hours": float(hours),
            "clump": round(series.clump, 3),
        },
    )


_WORDS = {"records": "of records refused", "items": "of bought items shown by no answer"}


def _jump(
    name: str, scope: str, share: ShareHours, counts: tuple[int, int, int]
) -> Condition | None:
    verdict = share.add(*counts)
    if verdict is None:
        return None
    found = share.found()
    return Condition(
        name=name,
        scope=scope,
        active=verdict,
        event_time_ms=(counts[0] + 1) * HOUR_MS,
        summary=f"{found.share:.0%} {_WORDS[scope]} where {found.usual:.0%} is usual",
        evidence={
            "share": round(found.share, 6),
            "usual": round(found.usual, 6),
            "n": float(found.n),
        },
    )


def _sum(one: HourSeen, other: HourSeen) -> HourSeen:
    return HourSeen(
        one.hour,
        one.events + other.events,
        one.answers + other.answers,
        one.refused + other.refused,
    )
