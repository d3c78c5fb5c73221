"""The catalogue as arrays: one row per item, in the order items were first heard of.

It knows titles, categories, prices, stock and how often buyers come back for an item; it knows
nothing of visitors' histories or of requests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
_FIRST_CAPACITY = 256
_KEPT_CHANGES = 65_536
STOCK_UNKNOWN = -1
CATEGORY_SEPARATOR = "/"
_NOT_SAVED = frozenset({"row_of", "code_of", "_changes", "_forgotten"})


def is_at_or_below(category: str, other: str) -> bool:
    """Whether a category is the other one or inside it.

    >>> is_at_or_below("Home/Kitchen", "Home"), is_at_or_below("Homeware", "Home")
    (True, False)
    """
    return category == other or category.startswith(other + CATEGORY_SEPARATOR)


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
        self.price: NDArray[np.float64] = np.full(_FIRST_CAPACITY, np.nan)
        self.available: NDArray[np.bool_] = np.ones(_FIRST_CAPACITY, dtype=np.bool_)
        self.stock: NDArray[np.int32] = np.full(_FIRST_CAPACITY, STOCK_UNKNOWN, np.int32)
        self.listed: NDArray[np.bool_] = np.ones(_FIRST_CAPACITY, dtype=np.bool_)
        self.category: NDArray[np.int32] = np.zeros(_FIRST_CAPACITY, np.int32)
        self.categories: list[str] = [""]  # name by code
        self.code_of: dict[str, int] = {"": 0}
        self.first_ms: NDArray[np.int64] = np.zeros(_FIRST_CAPACITY, dtype=np.int64)
        self.last_ms: NDArray[np.int64] = np.zeros(_FIRST_CAPACITY, dtype=np.int64)
        self.buyers: Floats = np.zeros(_FIRST_CAPACITY, dtype=np.float32)
        self.rebuys: Floats = np.zeros(_FIRST_CAPACITY, dtype=np.float32)
        self._changes: list[int] = []  # rows in the order in which the shop spoke of them
        self._forgotten = 0

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
        self.item_ids.append(item_id)
        self.titles.append("")
        self.row_of[item_id] = row  # last: replies look rows up while items come
        return row

    def rows(self, item_ids: list[str]) -> Rows:
        """Rows of many items, new ones included."""
        return np.fromiter((self.row(item) for item in item_ids), np.int64, len(item_ids))

    def put(
        self,
        row: int,
        title: str,
        price: float | None,
        available: bool,
        *,
        category: str = "",
        stock: int | None = None,
    ) -> None:
        """Replaces what the shop says of an item; what it does not say becomes unknown.

        An item is `listed` when it is available and its stock is not known to be 0.
        """
        self.titles[row] = title
        self.log_price[row] = np.log(price) if price is not None and price > 0 else np.nan
        self.price[row] = np.nan if price is None else price
        self.available[row] = available
        self.stock[row] = STOCK_UNKNOWN if stock is None else min(stock, 2**31 - 1)
        self.listed[row] = available and stock != 0
        self.category[row] = self._code(category)
        self._changes.append(row)
        if len(self._changes) > _KEPT_CHANGES:
            del self._changes[: _KEPT_CHANGES // 2]
            self._forgotten += _KEPT_CHANGES // 2

    @property
    def version(self) -> int:
        """How often the shop has spoken of an item."""
        return self._forgotten + len(self._changes)

    def changed_since(self, version: int) -> Rows | None:
        """Rows put since then, each once; None when that is too long ago to tell.

        >>> catalogue = Catalogue()
        >>> catalogue.put(catalogue.row("cup"), "CUP", 2.5, True)
        >>> catalogue.changed_since(0), catalogue.changed_since(1)
        (array([0]), array([], dtype=int64))
        """
        if version < self._forgotten:
            return None
        return np.unique(np.array(self._changes[version - self._forgotten :], np.int64))

    def below(self, category: str) -> NDArray[np.bool_]:
        """Which category codes are at or below this one, shape (len(categories),).

        >>> catalogue = Catalogue()
        >>> for name in ("Home", "Home/Kitchen", "Homeware"):
        ...     catalogue.put(catalogue.row(name), name, None, True, category=name)
        >>> catalogue.below("Home").tolist()
        [False, True, True, False]
        """
        return np.array([is_at_or_below(name, category) for name in self.categories], np.bool_)

    def sold(self, rows: Rows, at_ms: int, is_rebuy: NDArray[np.bool_]) -> None:
        """Counts one interaction with each row; a re-buy is one by an earlier buyer."""
        first = self.first_ms[rows]
        self.first_ms[rows] = np.where((first == 0) | (first > at_ms), at_ms, first)
        self.last_ms[rows] = np.maximum(self.last_ms[rows], at_ms)
        self.buyers[rows] += ~is_rebuy
        self.rebuys[rows] += is_rebuy

    def to_dict(self) -> dict[str, Any]:
        """Everything held, as plain values and arrays."""
        return {name: value for name, value in vars(self).items() if name not in _NOT_SAVED}

    @classmethod
    def from_dict(cls, saved: dict[str, Any]) -> Catalogue:
        """The catalogue that `to_dict` described."""
        catalogue = cls()
        vars(catalogue).update(saved)
        catalogue.row_of = {item: row for row, item in enumerate(catalogue.item_ids)}
        catalogue.code_of = {name: code for code, name in enumerate(catalogue.categories)}
        return catalogue

    def _code(self, category: str) -> int:
        code = self.code_of.setdefault(category, len(self.categories))
        if code == len(self.categories):
            self.categories.append(category)
        return code

    def _grow(self) -> None:
        extra = self.capacity
        self.log_price = np.concatenate([self.log_price, np.full(extra, np.nan, np.float32)])
        self.price = np.concatenate([self.price, np.full(extra, np.nan)])
        self.available = np.concatenate([self.available, np.ones(extra, np.bool_)])
        self.stock = np.concatenate([self.stock, np.full(extra, STOCK_UNKNOWN, np.int32)])
        self.listed = np.concatenate([self.listed, np.ones(extra, np.bool_)])
        self.category = np.concatenate([self.category, np.zeros(extra, np.int32)])
        self.first_ms = np.concatenate([self.first_ms, np.zeros(extra, np.int64)])
        self.last_ms = np.concatenate([self.last_ms, np.zeros(extra, np.int64)])
        self.buyers = np.concatenate([self.buyers, np.zeros(extra, np.float32)])
        self.rebuys = np.concatenate([self.rebuys, np.zeros(extra, np.float32)])
