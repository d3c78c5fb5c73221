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
    "popularity_1d",
    "popularity_7d",
    "popularity_28d",
    "popularity_trend",
    "popularity_rank",
    "cooccurrence",
    "cooccurrence_rank",
    "cooccurrence_share",
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
_OWN_REPEAT_RATE = FEATURE_NAMES.index("own_item_repeat_rate")
SEQUENCE_FEATURES: tuple[int, ...] = tuple(
    i for i, name in enumerate(FEATURE_NAMES) if name.startswith("sequence")
)


def feature_schema_hash() -> str:
    """Sixteen hex digits that change whenever a name or the order changes."""
    return hashlib.sha256("\n".join(FEATURE_NAMES).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Signals:
    """What the sources said about the candidates, each of shape (n,) beside `rows`."""

    rows: Rows
    cooccurrence: Floats
    log_probs: Floats | None


@cache
def position_feature(position: int) -> float:
    """The feature of a place counted from 1; the first place is 0, where all are scored.

    >>> position_feature(1), round(position_feature(10), 2)
    (0.0, 2.3)
    """
    return float(np.log(position))


def compute(state: ShopState, visitor: VisitorHistory, now_ms: int, signals: Signals) -> Floats:
    """Feature matrix of the candidates, shape (n, len(FEATURE_NAMES)), float32."""
    rows = signals.rows
    repeat_rate = _repeat_rate(state, rows)
    columns = [
        *_own(state, visitor, now_ms, rows),
        *_popularity(state, now_ms, rows),
        *_cooccurrence(signals.cooccurrence),
        *_sequence(signals.log_probs, len(rows)),
        _age(state, now_ms, rows),
        repeat_rate,
        _price_distance(state, visitor, rows),
        *_visitor(visitor, now_ms),
        0.0,
    ]
    matrix = np.empty((len(rows), len(FEATURE_NAMES)), np.float32)
    for i, column in enumerate(columns):
        matrix[:, i] = column
    matrix[:, _OWN_REPEAT_RATE] = matrix[:, 0] * repeat_rate
    return matrix


def minus_log_rank(values: Floats) -> Floats:
    """Minus the log of each value's rank, 0 for the largest; equal values rank in given order.

    >>> np.exp(-minus_log_rank(np.array([1.0, 5.0], np.float32))).round().tolist()
    [2.0, 1.0]
    """
    ranks = np.empty(len(values), np.float32)
    ranks[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return np.asarray(-np.log(ranks), np.float32)


def _own(state: ShopState, visitor: VisitorHistory, now_ms: int, rows: Rows) -> list[Floats]:
    place = np.full(len(state.catalogue), -1, np.int64)
    place[visitor.rows] = np.arange(len(visitor.rows))
    at = place[rows]
    own = (at >= 0).astype(np.float32)
    if not len(visitor.rows):
        return [own] * 7
    counts = np.asarray(visitor.counts[at] * own, np.float32)
    days = np.maximum(now_ms - visitor.last_ms[at], 0) / DAY_MS
    recency = (own / (1.0 + np.log1p(days))).astype(np.float32)
    last = own * (visitor.last_ms[at] >= visitor.session_ms)
    tendency = visitor.repeats / (visitor.taken + 5.0)
    return [
        own,
        np.log1p(counts),
        counts / visitor.sessions,
        recency,
        last,
        own * tendency,
        own,  # becomes own_item_repeat_rate in `compute`
    ]


def _repeat_rate(state: ShopState, rows: Rows) -> Floats:
    rebuys, buyers = state.catalogue.rebuys[rows], state.catalogue.buyers[rows]
    return np.asarray((rebuys + 1.0) / (rebuys + buyers + 5.0), np.float32)


def _popularity(state: ShopState, now_ms: int, rows: Rows) -> list[Floats]:
    day, week, month = (state.popularity.window(now_ms, days)[rows] for days in (1, 7, 28))
    trend = np.log((week + 1.0) / (month / 4.0 + 1.0)).astype(np.float32)
    return [np.log1p(day), np.log1p(week), np.log1p(month), trend, minus_log_rank(week)]


def _cooccurrence(scores: Floats) -> list[Floats]:
    top = float(scores.max(initial=0.0))
    share = scores / top if top > 0 else scores
    return [np.log1p(scores), minus_log_rank(scores), np.asarray(share, np.float32)]


def _sequence(log_probs: Floats | None, n: int) -> list[Floats]:
    if log_probs is None:
        zeros = np.zeros(n, np.float32)
        return [zeros, zeros, np.ones(n, np.float32)]
    missing = np.isneginf(log_probs)
    floor = np.maximum(log_probs, -14.0)
    return [
        np.asarray(floor / 4.0 + 2.0, np.float32),
        minus_log_rank(log_probs),
        missing.astype(np.float32),
    ]


def _age(state: ShopState, now_ms: int, rows: Rows) -> Floats:
    first = state.catalogue.first_ms[rows]
    days = np.maximum(now_ms - first, 0) / DAY_MS
    return np.where(first > 0, np.log1p(days), 0.0).astype(np.float32)


def _price_distance(state: ShopState, visitor: VisitorHistory, rows: Rows) -> Floats | float:
    if not visitor.price_count:
        return 0.0
    distance = np.abs(state.catalogue.log_price[rows] - visitor.price_sum / visitor.price_count)
    return np.where(np.isnan(distance), 1.0, distance).astype(np.float32)


def _visitor(visitor: VisitorHistory, now_ms: int) -> tuple[float, float]:
    if not visitor.sessions:
        return 0.0, 0.0
    idle_days = max(now_ms - visitor.newest_ms, 0) / DAY_MS
    return float(np.log1p(visitor.sessions)), float(np.log1p(idle_days))
