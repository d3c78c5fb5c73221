"""One visitor's history: which items, how often, when last, and the rhythm of the visits.

It knows catalogue rows and event times, no other visitor and no clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SESSION_GAP_MS = 600_000
KEPT_RECENT = 64
VISIT_DECAY = 0.9
"""What is left of an interaction one visit later in `fading`, the count that forgets."""

Rows = NDArray[np.int64]


class VisitorHistory:
    """Parallel arrays over the distinct items of one visitor, in order of first interaction."""

    __slots__ = (
        "bought", "counts", "fading", "first_visit", "gap_ms", "gram_weights", "last_ms",
        "last_visit", "newest_ms", "price_count", "price_sum", "recent", "related", "repeats",
        "rows", "session_ms", "sessions", "taken",
    )  # fmt: skip

    def __init__(self) -> None:
        self.rows: Rows = np.zeros(0, np.int64)
        self.counts: NDArray[np.float32] = np.zeros(0, np.float32)
        self.bought: NDArray[np.float32] = np.zeros(0, np.float32)
        self.last_ms: NDArray[np.int64] = np.zeros(0, np.int64)
        self.gram_weights: NDArray[np.float32] = np.zeros(0, np.float32)
        self.fading: NDArray[np.float32] = np.zeros(0, np.float32)  # as of `last_visit`
        self.first_visit: NDArray[np.int32] = np.zeros(0, np.int32)  # visits counted from 1
        self.last_visit: NDArray[np.int32] = np.zeros(0, np.int32)
        self.recent: list[int] = []
        self.sessions = 0
        self.session_ms = 0
        self.newest_ms = 0
        self.gap_ms = 0.0
        self.taken = 0
        self.repeats = 0
        self.price_sum = 0.0
        self.price_count = 0
        self.related = 0  # the co-occurrence's count when this visitor was last related

    def add(self, rows: Rows, weight: float, bought: bool, at_ms: int) -> NDArray[np.bool_]:
        """Records one interaction with each distinct row; returns which had been bought before."""
        self._visit(at_ms)
        at = self._places(rows)
        earlier = self.bought[at] > 0
        self.counts[at] += weight
        self.fading[at] = self.faded(at) + weight
        first = self.first_visit[at]
        self.first_visit[at] = np.where(first == 0, self.sessions, first)
        self.last_visit[at] = self.sessions
        self.last_ms[at] = np.maximum(self.last_ms[at], at_ms)
        if bought:
            self.bought[at] += 1.0
            self.taken += len(rows)
            self.repeats += int(earlier.sum())
        self.recent.extend(rows.tolist())
        del self.recent[:-KEPT_RECENT]
        return np.asarray(earlier, np.bool_)

    def take_in(self, other: VisitorHistory) -> None:
        """Adds what another history of the same shopper holds."""
        at = self._places(other.rows)
        self._take_in_visits(other, at)
        self.counts[at] += other.counts
        self.bought[at] += other.bought
        self.last_ms[at] = np.maximum(self.last_ms[at], other.last_ms)
        older, newer = sorted((self, other), key=lambda one: one.newest_ms)
        self.recent = [*older.recent, *newer.recent][-KEPT_RECENT:]
        sessions = self.sessions + other.sessions
        gaps = self.gap_ms * self.sessions + other.gap_ms * other.sessions
        self.gap_ms = gaps / sessions if sessions else 0.0
        self.sessions = sessions
        self.session_ms, self.newest_ms = newer.session_ms, newer.newest_ms
        self.taken += other.taken
        self.repeats += other.repeats
        self.price_sum += other.price_sum
        self.price_count += other.price_count

    def faded(self, at: NDArray[np.int64]) -> NDArray[np.float32]:
        """The counts that forget of the items at these indices, as of the newest visit."""
        ago = self.sessions - self.last_visit[at]
        return np.asarray(self.fading[at] * np.float32(VISIT_DECAY) ** ago, np.float32)

    def price(self, log_prices: NDArray[np.float32]) -> None:
        """Adds to the running mean of log prices paid; unknown prices are left out."""
        known = log_prices[~np.isnan(log_prices)]
        self.price_sum += float(known.sum(dtype=np.float64))
        self.price_count += len(known)

    def bought_rows(self) -> Rows:
        """Rows of the items this visitor has bought."""
        return self.rows[self.bought > 0]

    def session_rows(self) -> Rows:
        """Rows of the items of the newest visit, or of a visit still later in event time."""
        return self.rows[self.last_ms >= self.session_ms]

    def to_dict(self) -> dict[str, Any]:
        """Everything held that cannot be computed again, as plain values and arrays."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "gram_weights"}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> VisitorHistory:
        """The history that `to_dict` described; `gram_weights` is empty until computed again."""
        visitor = cls()
        for name, value in saved.items():
            setattr(visitor, name, value)
        return visitor

    def _take_in_visits(self, other: VisitorHistory, at: NDArray[np.int64]) -> None:
        """Numbers the visits of both anew: those of the one that ended first come first."""
        mine_later = other.newest_ms < self.newest_ms
        known = self.first_visit > 0
        self.first_visit[known] += other.sessions if mine_later else 0
        self.last_visit[known] += other.sessions if mine_later else 0
        moved = 0 if mine_later else self.sessions
        first, last = other.first_visit + moved, other.last_visit + moved
        own_first, own_last = self.first_visit[at], self.last_visit[at]
        newest = np.maximum(own_last, last)
        kept, decay = self.fading[at], np.float32(VISIT_DECAY)
        self.fading[at] = kept * decay ** (newest - own_last) + other.fading * decay ** (
            newest - last
        )
        self.first_visit[at] = np.where(own_first == 0, first, np.minimum(own_first, first))
        self.last_visit[at] = newest

    def _visit(self, at_ms: int) -> None:
        if self.sessions == 0 or at_ms - self.newest_ms > SESSION_GAP_MS:
            if self.sessions:
                gap = float(at_ms - self.newest_ms)
                self.gap_ms = gap if self.sessions == 1 else 0.7 * self.gap_ms + 0.3 * gap
            self.sessions += 1
            self.session_ms = at_ms
        self.newest_ms = max(self.newest_ms, at_ms)

    def _places(self, rows: Rows) -> NDArray[np.int64]:
        """Index of each row in the parallel arrays, which grow by the rows not there yet."""
        known = len(self.rows)
        order = np.argsort(self.rows, kind="stable")
        found = np.searchsorted(self.rows, rows, sorter=order)
        at = order[np.minimum(found, known - 1)] if known else np.zeros(len(rows), np.int64)
        is_new = self.rows[at] != rows if known else np.ones(len(rows), np.bool_)
        fresh = int(is_new.sum())
        if fresh:
            at = at.copy()
            at[is_new] = np.arange(known, known + fresh)
            zeros = np.zeros(fresh, np.float32)
            self.rows = np.concatenate([self.rows, rows[is_new]])
            self.counts = np.concatenate([self.counts, zeros])
            self.bought = np.concatenate([self.bought, zeros])
            self.gram_weights = np.concatenate([self.gram_weights, zeros])
            self.fading = np.concatenate([self.fading, zeros])
            none = np.zeros(fresh, np.int32)
            self.first_visit = np.concatenate([self.first_visit, none])
            self.last_visit = np.concatenate([self.last_visit, none])
            self.last_ms = np.concatenate([self.last_ms, np.zeros(fresh, np.int64)])
        return np.asarray(at, np.int64)
