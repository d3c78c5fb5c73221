"""Where the items of models' vocabularies are in the catalogue, and the other way round.

It knows ids and rows; it keeps what it found for the vocabularies used last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat

import numpy as np

from core.catalogue import Rows
from core.sequence import ITEMS_AT_ONCE, SequenceVocabulary

KEPT_VOCABULARIES = 4


class Vocabularies:
    """Columns by row and rows by column of the few vocabularies that answer now.

    A new item costs what it takes itself, however many there are.

    >>> known, words = Vocabularies(), SequenceVocabulary(["a", "b"])
    >>> known.columns(["b", "new"], words).tolist(), known.rows(["b", "new"], words).tolist()
    ([1, 2], [-1, 0])
    """

    def __init__(self) -> None:
        self._known: dict[int, Places] = {}

    def columns(self, item_ids: Sequence[str], vocabulary: SequenceVocabulary) -> Rows:
        """Column of each catalogue item, len(vocabulary) for those that it does not know.

        The caller must not write to it.
        """
        return self._of(item_ids, vocabulary).columns

    def know(self, places: Places) -> None:
        """Takes in places of the first catalogue items that were found beforehand."""
        while len(self._known) >= KEPT_VOCABULARIES:
            del self._known[next(iter(self._known))]
        self._known[id(places.vocabulary)] = places

    def rows(self, item_ids: Sequence[str], vocabulary: SequenceVocabulary) -> Rows:
        """Catalogue row of each column, -1 for items unheard of, shape (len(vocabulary),).

        The caller must not write to it.
        """
        return self._of(item_ids, vocabulary).rows

    def _of(self, item_ids: Sequence[str], vocabulary: SequenceVocabulary) -> Places:
        places = self._known.pop(id(vocabulary), None) or Places(vocabulary, np.zeros(0, np.int64))
        if places.length < len(item_ids):
            places.add(columns_of(item_ids[places.length :], vocabulary))
        self.know(places)
        return places


class Places:
    """Where catalogue and vocabulary are in each other, by `columns_of` the first items."""

    def __init__(self, vocabulary: SequenceVocabulary, columns: Rows) -> None:
        self.vocabulary = vocabulary
        self.length = len(columns)
        self._columns = columns
        self._rows = np.full(len(vocabulary) + 1, -1, np.int64)
        self._rows[columns] = np.arange(len(columns))

    @property
    def columns(self) -> Rows:
        """Column of each of the first `length` catalogue items."""
        return self._columns[: self.length]

    @property
    def rows(self) -> Rows:
        """Catalogue row of each column, -1 for items unheard of."""
        return self._rows[:-1]

    def add(self, columns: Rows) -> None:
        """Takes in the columns of the next catalogue items."""
        first, self.length = self.length, self.length + len(columns)
        if self.length > len(self._columns):
            room = np.empty(self.length + self.length // 8, np.int64)
            room[:first] = self._columns[:first]
            self._columns = room
        self._columns[first : self.length] = columns
        self._rows[columns] = np.arange(first, self.length)


def columns_of(item_ids: Sequence[str], vocabulary: SequenceVocabulary) -> Rows:
    """Column of each item in a vocabulary, len(vocabulary) for those that it does not know.

    >>> columns_of(["b", "new", "a"], SequenceVocabulary(["a", "b"])).tolist()
    [1, 2, 0]
    """
    found = map(vocabulary.index.get, item_ids, repeat(len(vocabulary)))
    return np.fromiter(found, np.int64, len(item_ids))


def places_in_parts(
    item_ids: Sequence[str], vocabulary: SequenceVocabulary, rest: Callable[[], object]
) -> Places:
    """Where these items are in a vocabulary; `rest` lets others go on between parts of the work.

    >>> places_in_parts(["b", "new"], SequenceVocabulary(["a", "b"]), int).columns.tolist()
    [1, 2]
    """
    parts = [np.zeros(0, np.int64)]
    for first in range(0, len(item_ids), ITEMS_AT_ONCE):
        parts.append(columns_of(item_ids[first : first + ITEMS_AT_ONCE], vocabulary))
        rest()
    return Places(vocabulary, np.concatenate(parts))
