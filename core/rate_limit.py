"""A token bucket per caller, in bounded memory, and the headers that tell a caller where it stands.

A bucket of `burst` tokens fills at `rate` a second; a request takes its cost. It is kept as one
number, the moment it will be full again (the generic cell rate algorithm: ITU-T I.371, annex A),
so that a bucket that is full again is forgotten without loss. Knows no clock: time is an argument.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Protocol

import msgspec

MOST_CALLERS = 10_000


class Limit(msgspec.Struct, frozen=True):
    """`rate` requests a second, `burst` at once."""

    rate: float
    burst: int


class Taken(msgspec.Struct, frozen=True):
    """What came of one request: whether it may go on, and what is left."""

    granted: bool
    left: int
    full_in_s: float
    retry_in_s: float = 0.0


def take(
    full_at_s: float, limit: Limit, now_s: float, cost: int = 1, paid: int = 0
) -> tuple[float, Taken]:
    """The moment the bucket is full after this request, and what came of it.

    A cost above the burst goes through when the bucket is full and is paid back after, so that a
    batch is neither free nor impossible. `paid` is what the same call has taken a moment ago; it is
    given back when the rest is refused.

    >>> full_at, taken = take(0.0, Limit(2.0, 2), now_s=100.0)
    >>> full_at, taken.left
    (100.5, 1)
    """
    begun = max(full_at_s, now_s)
    room = limit.burst - (begun - now_s) * limit.rate
    needed = min(cost, limit.burst - paid)
    if room + 1e-9 < needed:
        wait = (needed - room) / limit.rate
        return begun - paid / limit.rate, Taken(
            False, max(0, math.floor(room)), begun - now_s, wait
        )
    after = begun + cost / limit.rate
    left = max(0, math.floor(room - cost + 1e-9))
    return after, Taken(True, left, after - now_s)


class Rates(Protocol):
    """Who counts what callers take."""

    def take(self, caller: str, limit: Limit, now_s: float, cost: int = 1, paid: int = 0) -> Taken:
        """What comes of a request of this caller now; see `take`."""


class Buckets:
    """The buckets of many callers; beyond `most` the least recently used is forgotten."""

    def __init__(self, most: int = MOST_CALLERS) -> None:
        self._most = most
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, caller: str, limit: Limit, now_s: float, cost: int = 1, paid: int = 0) -> Taken:
        """What comes of a request of this caller now; see `take`."""
        full_at, taken = take(self._full_at.get(caller, -math.inf), limit, now_s, cost, paid)
        self._full_at[caller] = full_at
        self._full_at.move_to_end(caller)
        while len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return taken


def headers_of(limit: Limit, taken: Taken) -> list[tuple[str, str]]:
    """`RateLimit-Policy` and `RateLimit`, and `Retry-After` when the request was refused.

    Source: draft-ietf-httpapi-ratelimit-headers-10; q and w state the burst and the seconds in
    which it is earned again, r and t what is left and when it is whole.

    >>> limit = Limit(10.0, 20)
    >>> headers_of(limit, Taken(True, 7, 1.3))
    [('RateLimit-Policy', '"key";q=20;w=2'), ('RateLimit', '"key";r=7;t=2')]
    """
    found = [
        ("RateLimit-Policy", f'"key";q={limit.burst};w={math.ceil(limit.burst / limit.rate)}'),
        ("RateLimit", f'"key";r={taken.left};t={math.ceil(taken.full_in_s)}'),
    ]
    if not taken.granted:
        found.append(("Retry-After", str(max(1, math.ceil(taken.retry_in_s)))))
    return found
