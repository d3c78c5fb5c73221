"""What the task stage takes in: the time, id and order of each; when commands are due."""

from __future__ import annotations

from core.settings import DAY_MS
from schemas.models import Order, Publish
from schemas.outcomes import BasketSeen, JoinCounts, JudgedList, Running, TrafficSeen

Closed = JudgedList | BasketSeen | JoinCounts | TrafficSeen
Record = Closed | Running | Publish | Order


def is_due(command: Publish | Order, now_ms: int, wall_ms: int) -> bool:
    """Whether a command is carried out now: orders at once, versions at their event time.

    In live time the wall clock counts too, so that a version is not held up by a shop that rests.
    """
    if isinstance(command, Order) or command.event_time_ms <= now_ms:
        return True
    return 0 <= wall_ms - command.event_time_ms < DAY_MS


def time_of(record: Closed) -> int:
    """The event time at which a record is due."""
    return record.closed_at_ms if isinstance(record, JudgedList) else record.event_time_ms


def id_of(record: Closed) -> str:
    """What tells a repeat."""
    match record:
        case BasketSeen():
            return record.event_id
        case TrafficSeen():
            return record.traffic_id
        case JoinCounts():
            return record.counts_id
    return record.judged_id


def order_of(record: Closed) -> tuple[int, str]:
    """The order that records are worked through in, whatever order they came in."""
    return time_of(record), id_of(record)


def split(
    records: list[tuple[int, Closed]], now_ms: int
) -> tuple[list[Closed], list[tuple[int, Closed]]]:
    """What is due at this close, in order, and what waits; each record after its own barrier."""
    due, waiting = [], []
    for after_ms, record in records:
        if time_of(record) <= now_ms and after_ms < now_ms:
            due.append(record)
        else:
            waiting.append((after_ms, record))
    return sorted(due, key=order_of), waiting
