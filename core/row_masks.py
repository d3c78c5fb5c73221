"""Yes, no or a number for every catalogue row, kept up to date as the catalogue changes.

A request thus pays for a look-up, not for a pass over the catalogue. It knows selections and
filters; which of them hold is said elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.catalogue import Catalogue, Rows, is_at_or_below
from schemas.predictions import Filters

KEPT_FILTERS = 64

Bools = NDArray[np.bool_]
Some = Rows | slice


class Selection(Protocol):
    """Items named, or in a named category, within a price band; see `core/rules.py`."""

    @property
    def items(self) -> Sequence[str]:
        """Item ids."""

    @property
    def categories(self) -> Sequence[str]:
        """Categories, with what is below them."""

    @property
    def price_from(self) -> float | None:
        """The lowest price."""

    @property
    def price_to(self) -> float | None:
        """The highest price."""


class ByRow:
    """One value per row of a catalogue; only rows that changed are asked about again.

    Args:
        test: the values of some rows.
        dtype: what they are.
    """

    def __init__(self, test: Callable[[Catalogue, Some], NDArray[Any]], dtype: Any) -> None:
        self._test = test
        self._values: NDArray[Any] = np.zeros(0, dtype)
        self._length = 0
        self._version = 0

    def at(self, catalogue: Catalogue) -> NDArray[Any]:
        """The values now, shape (len(catalogue),), not to be written to."""
        length = len(catalogue)
        if length != self._length or catalogue.version != self._version:
            self._follow(catalogue, length)
        return self._values[:length]

    def _follow(self, catalogue: Catalogue, length: int) -> None:
        former, self._length = self._length, length
        changed = catalogue.changed_since(self._version)
        self._version = catalogue.version
        if len(self._values) < length:
            larger = np.zeros(catalogue.capacity, self._values.dtype)
            larger[:former] = self._values[:former]
            self._values = larger
        if changed is None or former == 0:
            former = 0
        elif len(changed := changed[changed < former]):
            self._values[changed] = self._test(catalogue, changed)
        if former < length:
            rest = slice(former, length)
            self._values[rest] = self._test(catalogue, rest)


class CategoryCodes:
    """Which category codes are at or below any of some categories."""

    def __init__(self, categories: Sequence[str]) -> None:
        self._categories = categories
        self._mask: Bools = np.zeros(0, np.bool_)

    def of(self, catalogue: Catalogue, rows: Some) -> Bools:
        """Whether the category of each row is one of them."""
        fresh = catalogue.categories[len(self._mask) :]
        if fresh:
            more = [any(is_at_or_below(name, one) for one in self._categories) for name in fresh]
            self._mask = np.concatenate([self._mask, np.array(more, np.bool_)])
        return self._mask.take(catalogue.category[rows])


def selecting(selection: Selection) -> Callable[[Catalogue, Some], Bools]:
    """A test of rows for `ByRow`: whether an item is selected."""
    codes = CategoryCodes(selection.categories)
    anywhere = not selection.items and not selection.categories

    def test(catalogue: Catalogue, rows: Some) -> Bools:
        named = np.full(len(catalogue), anywhere, np.bool_)
        row_of = catalogue.row_of
        named[[row_of[item] for item in selection.items if item in row_of]] = True
        chosen = named[rows]
        if selection.categories:
            chosen = chosen | codes.of(catalogue, rows)
        return _within(chosen, catalogue, rows, selection.price_from, selection.price_to)

    return test


def passing(filters: Filters) -> Callable[[Catalogue, Some], Bools]:
    """A test of rows for `ByRow`: whether an item passes the filters."""
    wanted, unwanted = CategoryCodes(filters.categories), CategoryCodes(filters.excluded_categories)

    def test(catalogue: Catalogue, rows: Some) -> Bools:
        passes = (catalogue.listed if filters.in_stock_only else catalogue.available)[rows]
        if filters.categories:
            passes = passes & wanted.of(catalogue, rows)
        if filters.excluded_categories:
            passes = passes & ~unwanted.of(catalogue, rows)
        return _within(passes, catalogue, rows, filters.price_from, filters.price_to)

    return test


def _banded(passes: ByRow, filters: Filters) -> Callable[[Catalogue, Some], Bools]:
    """As `passing`, from those that pass but for the price: a new band costs two comparisons."""

    def test(catalogue: Catalogue, rows: Some) -> Bools:
        chosen = passes.at(catalogue)[rows]
        return _within(chosen, catalogue, rows, filters.price_from, filters.price_to)

    return test


class FilterMasks:
    """The masks of the filters that were asked for of late; one owner, one thread.

    >>> catalogue = Catalogue()
    >>> catalogue.put(catalogue.row("cup"), "CUP", 2.5, True, category="Home/Kitchen")
    >>> catalogue.put(catalogue.row("bulb"), "BULB", None, True, category="Home")
    >>> masks = FilterMasks()
    >>> masks.mask(catalogue, Filters(categories=["Home"])).tolist()
    [True, True]
    >>> masks.mask(catalogue, Filters(price_to=2.5)).tolist()
    [True, False]
    """

    def __init__(self) -> None:
        self._catalogue: Catalogue | None = None
        self._masks: dict[tuple[object, ...], ByRow] = {}

    def mask(self, catalogue: Catalogue, filters: Filters) -> Bools:
        """Which items pass, shape (len(catalogue),), not to be written to."""
        if catalogue is not self._catalogue:
            self._catalogue, self._masks = catalogue, {}
        return self._kept(filters).at(catalogue)

    def _kept(self, filters: Filters) -> ByRow:
        key = _key(filters)
        known = self._masks.pop(key, None)
        if known is None:
            if filters.price_from is None and filters.price_to is None:
                test = passing(filters)
            else:
                unpriced = msgspec.structs.replace(filters, price_from=None, price_to=None)
                test = _banded(self._kept(unpriced), filters)
            known = ByRow(test, np.bool_)
            if len(self._masks) >= KEPT_FILTERS:
                del self._masks[next(iter(self._masks))]
        self._masks[key] = known
        return known


def _key(filters: Filters) -> tuple[object, ...]:
    return (
        tuple(filters.categories),
        tuple(filters.excluded_categories),
        filters.price_from,
        filters.price_to,
        filters.in_stock_only,
    )


def _within(
    chosen: Bools, catalogue: Catalogue, rows: Some, low: float | None, high: float | None
) -> Bools:
    """Those chosen whose price is known and in the band; without a band, all chosen."""
    if low is not None:
        chosen = chosen & (catalogue.price[rows] >= low)
    if high is not None:
        chosen = chosen & (catalogue.price[rows] <= high)
    return chosen
