"""The per-candidate features the online ranker weighs, their names and their order.

A feature snapshot is logged when served and is what is learned from; the hash of names and order
travels with weights and model versions, so that a number is never read under another name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from core.catalogue import Rows
from core.popularity import DAY_MS
from core.shop_state import ShopState
from core.visitor_history import VisitorHistory

Floats = NDArray[np.float32]

FEATURE_NAMES: tuple[str, ...] = (
    "own",
    "own_count",
    "own_share",
    "own_recency",
    "own_last_session",
    "own_repeat_tendency",
    "own_item_repeat_rate",
    "own_rate",
    "own_fading",
    "own_visits_ago",
    "popularity_1d",
    "popularity_7d",
    "popularity_28d",
    "popularity_trend",
    "popularity_rank",
    "cooccurrence",
    "cooccurrence_rank",
    "cooccurrence_share",
    "cooccurrence_session",
    "cooccurrence_others",
    "like_baskets",
    "sequence",
    "sequence_rank",
    "sequence_missing",
    "item_age",
    "item_repeat_rate",
    "price_distance",
    "visitor_sessions",
    "visitor_idle",
    "position",
)
POSITION = FEATURE_NAMES.index("position")
_INDEX = {name: i for i, name in enumerate(FEATURE_NAMES)}
_POPULARITY_RANK, _COOCCURRENCE_RANK = _INDEX["popularity_rank"], _INDEX["cooccurrence_rank"]
SEQUENCE_FEATURES: tuple[int, ...] = tuple(
    i for i, name in enumerate(FEATURE_NAMES) if name.startswith("sequence")
)


def feature_schema_hash() -> str:
    """Sixteen hex digits that change whenever a name or the order changes."""
    return hashlib.sha256("\n".join(FEATURE_NAMES).encode()).hexdigest()[:16]


@cache
def position_feature(position: int) -> float:
    """The feature of a place counted from 1; the first place is 0, where all are scored.

    >>> position_feature(1), round(position_feature(10), 2)
    (0.0, 2.3)
    """
    return float(np.log(position))


@dataclass(frozen=True)
class Shared:
    """What of the features of n candidates no model has a say in.

    `matrix`, shape (n, len(FEATURE_NAMES)), holds the columns that need no other candidate; by
    `week` (popularity) and `related` (co-occurrence), each (n,), candidates rank among each other.
    """

    matrix: Floats
    week: Floats
    related: Floats

    def with_sequence(self, at: Rows, log_probs: Floats | None) -> Floats:
        """Feature matrix of the candidates `at`, shape (len(at), len(FEATURE_NAMES)), float32.

        `log_probs` is what a model says of each of them, None without a model.
        """
        matrix = self.matrix.take(at, axis=0)
        matrix[:, _POPULARITY_RANK] = minus_log_rank(self.week[at])
        matrix[:, _COOCCURRENCE_RANK] = minus_log_rank(self.related[at])
        for column, values in zip(SEQUENCE_FEATURES, _sequence(log_probs), strict=True):
            matrix[:, column] = values
        return matrix


@dataclass(frozen=True)
class Near:
    """How near items are to one shopper, each of shape (n,).

    `related` is co-occurrence with all their items, `session` with those of the newest visit;
    `like_baskets` says how often an item is in others' recent baskets that are like theirs.
    """

    related: Floats
    session: Floats
    like_baskets: Floats


def shared(
    state: ShopState, visitor: VisitorHistory, now_ms: int, rows: Rows, near: Near
) -> Shared:
    """The part that is the same whichever model is heard; `near` is of the candidates alone.

    The highest of `near.related` must be among the candidates of each model: shares are of it.
    """
    related = near.related
    windows = [state.popularity.window(now_ms, days)[rows] for days in (1, 7, 28)]
    repeat_rate = _repeat_rate(state, rows)
    own, counts = _own(visitor, now_ms, rows, repeat_rate)
    columns = {
        **own,
        **_popularity(*windows),
        "cooccurrence": np.log1p(related),
        "cooccurrence_share": _share(related),
        "cooccurrence_session": np.log1p(near.session),
        # An item is as near to itself as can be: without that, what its company says.
        "cooccurrence_others": np.log1p(np.maximum(related - counts, 0.0)),
        "like_baskets": np.log1p(near.like_baskets),
        "item_age": _age(state, now_ms, rows),
        "item_repeat_rate": repeat_rate,
        "price_distance": _price_distance(state, visitor, rows),
        **_visitor(visitor, now_ms),
    }
    matrix = np.zeros((len(rows), len(FEATURE_NAMES)), np.float32)
    for name, column in columns.items():
        matrix[:, _INDEX[name]] = column
    return Shared(matrix, windows[1], related)


def minus_log_rank(values: Floats) -> Floats:
    """Minus the log of each value's rank, 0 for the largest; equal values rank in given order.

    >>> np.exp(-minus_log_rank(np.array([1.0, 5.0], np.float32))).round().tolist()
    [2.0, 1.0]
    """
    logs = np.empty(len(values), np.float32)
    logs[np.argsort(-values, kind="stable")] = _minus_logs(len(values))
    return logs


@cache
def _minus_logs(n: int) -> Floats:
    return np.asarray(-np.log(np.arange(1, n + 1, dtype=np.float32)), np.float32)


def _own(
    visitor: VisitorHistory, now_ms: int, rows: Rows, repeat_rate: Floats
) -> tuple[dict[str, Floats], Floats]:
    """Columns of the shopper's own items, and how often they took each."""
    if not len(visitor.rows):
        return {}, np.zeros(len(rows), np.float32)
    order = np.argsort(visitor.rows, kind="stable")
    nearest = np.searchsorted(visitor.rows, rows, sorter=order)
    at = order[np.minimum(nearest, len(order) - 1)]
    own = (visitor.rows[at] == rows).astype(np.float32)
    counts = visitor.counts[at] * own
    last_ms = visitor.last_ms[at]
    days = np.maximum(now_ms - last_ms, 0) / DAY_MS
    since_first = visitor.sessions - visitor.first_visit[at]
    ago = visitor.sessions - visitor.last_visit[at]
    columns = {
        "own": own,
        "own_count": np.log1p(counts),
        "own_share": counts / visitor.sessions,
        "own_recency": np.asarray(own / (1.0 + np.log1p(days)), np.float32),
        "own_last_session": own * (last_ms >= visitor.session_ms),
        "own_repeat_tendency": own * (visitor.repeats / (visitor.taken + 5.0)),
        "own_item_repeat_rate": own * repeat_rate,
        "own_rate": counts / (since_first + np.float32(2.0)),
        "own_fading": np.log1p(visitor.faded(at) * own),
        "own_visits_ago": own / (ago + np.float32(1.0)),
    }
    return columns, np.asarray(counts, np.float32)


def _repeat_rate(state: ShopState, rows: Rows) -> Floats:
    rebuys, buyers = state.catalogue.rebuys[rows], state.catalogue.buyers[rows]
    return np.asarray((rebuys + 1.0) / (rebuys + buyers + 5.0), np.float32)


def _popularity(day: Floats, week: Floats, month: Floats) -> dict[str, Floats]:
    return {
        "popularity_1d": np.log1p(day),
        "popularity_7d": np.log1p(week),
        "popularity_28d": np.log1p(month),
        "popularity_trend": np.log((week + 1.0) / (month / 4.0 + 1.0)),
    }


def _share(scores: Floats) -> Floats:
    top = float(scores.max(initial=0.0))
    return np.asarray(scores / top, np.float32) if top > 0 else scores


def _sequence(log_probs: Floats | None) -> tuple[Floats | float, ...]:
    if log_probs is None:
        return 0.0, 0.0, 1.0
    floor = np.maximum(log_probs, -14.0)
    said = np.asarray(floor / 4.0 + 2.0, np.float32)
    return said, minus_log_rank(log_probs), np.isneginf(log_probs).astype(np.float32)


def _age(state: ShopState, now_ms: int, rows: Rows) -> Floats:
    first = state.catalogue.first_ms[rows]
    days = np.maximum(now_ms - first, 0) / DAY_MS
    return np.where(first > 0, np.log1p(days), 0.0).astype(np.float32)


def _price_distance(state: ShopState, visitor: VisitorHistory, rows: Rows) -> Floats | float:
    if not visitor.price_count:
        return 0.0
    distance = np.abs(state.catalogue.log_price[rows] - visitor.price_sum / visitor.price_count)
    return np.where(np.isnan(distance), 1.0, distance).astype(np.float32)


def _visitor(visitor: VisitorHistory, now_ms: int) -> dict[str, float]:
    if not visitor.sessions:
        return {}
    idle_days = max(now_ms - visitor.newest_ms, 0) / DAY_MS
    return {
        "visitor_sessions": float(np.log1p(visitor.sessions)),
        "visitor_idle": float(np.log1p(idle_days)),
    }
