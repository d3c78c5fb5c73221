"""Which items have titles like an item's: exact neighbours through an index of words.

An item has neighbours the moment it has a title, sold or not. It knows rows and titles, no
visitors, no prices and no clock.
"""

from __future__ import annotations

import re
from array import array
from functools import lru_cache

import numpy as np

from core.catalogue import Catalogue, Rows
from core.top import top_rows

MOST_WORDS = 24
RAREST = 8
KEPT_LISTS = 20_000
_WORD = re.compile(r"\w+")
_FIRST_CJK = "\u2e80"


@lru_cache(maxsize=4096)
def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def title_words(title: str) -> tuple[str, ...]:
    """Distinct words of a title, at most 24, plurals as singulars; pairs of characters in CJK.

    >>> title_words("RED MUGS, red"), title_words("红色杯子")
    (('red', 'mug'), ('红色', '色杯', '杯子'))
    """
    found: dict[str, None] = {}
    for word in _WORD.findall(title.lower()):
        if len(word) > 1 and max(word) >= _FIRST_CJK:
            found.update(dict.fromkeys(word[i : i + 2] for i in range(len(word) - 1)))
        else:
            found[_singular(word)] = None
    return tuple(found)[:MOST_WORDS]


class TextNeighbours:
    """An index from words to rows that follows a catalogue.

    Likeness is the sum, over the query's eight rarest words that an item has too, of the squared
    logarithm of how rare the word is, over the root of the item's number of words. About 60 bytes
    a title of five words.

    >>> catalogue, near = Catalogue(), TextNeighbours()
    >>> for name, title in (("a", "red mug"), ("b", "blue mug"), ("c", "clock"), ("d", "mug")):
    ...     catalogue.put(catalogue.row(name), title, None, True)
    >>> near.nearest(catalogue, 0, 2).tolist()
    [3, 1]
    """

    def __init__(self) -> None:
        self._version = -1
        self._words: dict[int, tuple[str, ...]] = {}
        self._rows: dict[str, array[int]] = {}
        self._lists: dict[tuple[int, int], Rows] = {}
        self._shorter = np.zeros(0, np.float32)  # one over the root of the number of words, by row

    def follow(self, catalogue: Catalogue) -> None:
        """Takes in the titles that the shop has changed since the last call."""
        if catalogue.version == self._version:
            return
        changed = catalogue.changed_since(self._version) if self._version >= 0 else None
        rows = range(len(catalogue)) if changed is None else changed.tolist()
        more = np.zeros(max(catalogue.capacity - len(self._shorter), 0), np.float32)
        self._shorter = np.concatenate([self._shorter, more])
        self._version = catalogue.version
        for row in rows:
            self._put(row, title_words(catalogue.titles[row]))

    def nearest(self, catalogue: Catalogue, row: int, n: int) -> Rows:
        """Up to n other rows whose titles are most like the row's, most alike first, ties by row.

        The caller must not write to it.
        """
        self.follow(catalogue)
        known = self._lists.get((row, n))
        if known is None:
            if len(self._lists) >= KEPT_LISTS:
                self._lists.clear()
            known = self._lists[row, n] = self._found(len(catalogue), row, n)
        return known

    def _found(self, size: int, row: int, n: int) -> Rows:
        words = sorted(self._words.get(row, ()), key=lambda word: len(self._rows[word]))[:RAREST]
        there = [np.frombuffer(self._rows[word], np.int32) for word in words]
        if not there:
            return np.zeros(0, np.int64)
        weights = [np.log(1.0 + size / len(rows)) ** 2 for rows in there]
        lengths = [len(rows) for rows in there]
        scores = np.bincount(np.concatenate(there), np.repeat(weights, lengths), size)
        scores[row] = 0.0
        return top_rows((scores * self._shorter[:size]).astype(np.float32), n)

    def _put(self, row: int, words: tuple[str, ...]) -> None:
        former = self._words.get(row, ())
        if words == former:
            return
        self._lists.clear()
        for word in former:
            rows = self._rows[word]
            del rows[_place(rows, row)]
            if not rows:
                del self._rows[word]
        self._words[row] = words
        self._shorter[row] = len(words) ** -0.5 if words else 0.0
        for word in words:
            self._rows.setdefault(word, array("i")).append(row)


def _place(rows: array[int], row: int) -> int:
    """Where the row stands; a common word has a million."""
    return int((np.frombuffer(rows, np.int32) == row).argmax())
