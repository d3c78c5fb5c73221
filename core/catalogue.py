"""The catalogue as arrays: one row per item, in the order items were first heard of.

It knows titles, prices, availability and how often buyers come back for an item; it knows nothing
of visitors' histories or of requests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
_FIRST_CAPACITY = 256


class Catalogue:
    """Grows by doubling; a row number, once given, stays the item's for good.

    >>> catalogue = Catalogue()
    >>> catalogue.row("85123A"), catalogue.row("22423"), catalogue.row("85123A")
    (0, 1, 0)
    """

    def __init__(self) -> None:
        self.item_ids: list[str] = []
        self.titles: list[str] = []
        self.row_of: dict[str, int] = {}
        self.log_price: Floats = np.full(_FIRST_CAPACITY, np.nan, dtype=np.float32)
        self.available: NDArray[np.bool_] = np.ones(_FIRST_CAPACITY, dtype=np.bool_)
        self.first_ms: NDArray[np.int64] = np.zeros(_FIRST_CAPACITY, dtype=np.int64)
        self.last_ms: NDArray[np.int64] = np.zeros(_FIRST_CAPACITY, dtype=np.int64)
        self.buyers: Floats = np.zeros(_FIRST_CAPACITY, dtype=np.float32)
        self.rebuys: Floats = np.zeros(_FIRST_CAPACITY, dtype=np.float32)

    def __len__(self) -> int:
        return len(self.item_ids)

    @property
    def capacity(self) -> int:
        """Rows the arrays have room for; per-item arrays elsewhere use the same length."""
        return len(self.log_price)

    def row(self, item_id: str) -> int:
        """The item's row, given now if the item is new."""
        known = self.row_of.get(item_id)
        if known is not None:
            return known
        row = len(self.item_ids)
        if row == self.capacity:
            self._grow()
        self.row_of[item_id] = row
        self.item_ids.append(item_id)
        self.titles.append("")
        return row

    def rows(self, item_ids: list[str]) -> Rows:
        """Rows of many items, new ones included."""
        return np.fromiter((self.row(item) for item in item_ids), np.int64, len(item_ids))

    def put(self, row: int, title: str, price: float | None, available: bool) -> None:
        """Replaces what the shop says of an item; an unknown price stays unknown."""
        self.titles[row] = title
        self.log_price[row] = np.log(price) if price is not None and price > 0 else np.nan
        self.available[row] = available

    def sold(self, rows: Rows, at_ms: int, is_rebuy: NDArray[np.bool_]) -> None:
        """Counts one interaction with each row; a re-buy is one by an earlier buyer."""
        first = self.first_ms[rows]
        self.first_ms[rows] = np.where((first == 0) | (first > at_ms), at_ms, first)
        self.last_ms[rows] = np.maximum(self.last_ms[rows], at_ms)
        self.buyers[rows] += ~is_rebuy
        self.rebuys[rows] += is_rebuy

    def to_dict(self) -> dict[str, Any]:
        """Everything held, as plain values and arrays."""
        return {name: value for name, value in vars(self).items() if name != "row_of"}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Catalogue:
        """The catalogue that `to_dict` described."""
        catalogue = cls()
        vars(catalogue).update(saved)
        catalogue.row_of = {item: row for row, item in enumerate(catalogue.item_ids)}
        return catalogue

    def _grow(self) -> None:
        extra = self.capacity
        self.log_price = np.concatenate([self.log_price, np.full(extra, np.nan, np.float32)])
        self.available = np.concatenate([self.available, np.ones(extra, np.bool_)])
        self.first_ms = np.concatenate([self.first_ms, np.zeros(extra, np.int64)])
        self.last_ms = np.concatenate([self.last_ms, np.zeros(extra, np.int64)])
        self.buyers = np.concatenate([self.buyers, np.zeros(extra, np.float32)])
        self.rebuys = np.concatenate([self.rebuys, np.zeros(extra, np.float32)])
