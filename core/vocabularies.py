"""Where the items of models' vocabularies are in the catalogue, and the other way round.

It knows ids and rows; it keeps what it found for the vocabularies used last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from core.catalogue import Rows
from core.sequence import ITEMS_AT_ONCE, SequenceVocabulary

KEPT_VOCABULARIES = 4


class Vocabularies:
    """Columns by row and rows by column of the few vocabularies that answer now.

    >>> known, words = Vocabularies(), SequenceVocabulary(["a", "b"])
    >>> known.columns(["b", "new"], words).tolist(), known.rows(["b", "new"], words).tolist()
    ([1, 2], [-1, 0])
    """

    def __init__(self) -> None:
        self._columns: dict[int, tuple[SequenceVocabulary, Rows]] = {}
        self._rows: dict[int, tuple[Rows, Rows]] = {}

    def columns(self, item_ids: Sequence[str], vocabulary: SequenceVocabulary) -> Rows:
        """Column of each catalogue item, len(vocabulary) for those that it does not know."""
        columns = self._columns.pop(id(vocabulary), (vocabulary, np.zeros(0, np.int64)))[1]
        if len(columns) < len(item_ids):
            fresh = columns_of(item_ids[len(columns) :], vocabulary)
            columns = np.concatenate([columns, fresh])
        self.know(vocabulary, columns)
        return columns

    def know(self, vocabulary: SequenceVocabulary, columns: Rows) -> None:
        """Takes in columns of the first catalogue items, found beforehand by `columns_of`."""
        while len(self._columns) >= KEPT_VOCABULARIES:
            del self._columns[next(iter(self._columns))]
        self._columns[id(vocabulary)] = vocabulary, columns

    def rows(self, item_ids: Sequence[str], vocabulary: SequenceVocabulary) -> Rows:
        """Catalogue row of each column, -1 for items unheard of, shape (len(vocabulary),)."""
        columns = self.columns(item_ids, vocabulary)
        known = self._rows.get(id(vocabulary))
        if known is not None and known[0] is columns:
            return known[1]
        rows = np.full(len(vocabulary) + 1, -1, np.int64)
        rows[columns] = np.arange(len(columns))
        while len(self._rows) >= KEPT_VOCABULARIES:
            del self._rows[next(iter(self._rows))]
        self._rows[id(vocabulary)] = columns, rows[:-1]
        return rows[:-1]


def columns_of(item_ids: Sequence[str], vocabulary: SequenceVocabulary) -> Rows:
    """Column of each item in a vocabulary, len(vocabulary) for those that it does not know.

    >>> columns_of(["b", "new", "a"], SequenceVocabulary(["a", "b"])).tolist()
    [1, 2, 0]
    """
    found = map(vocabulary.index.get, item_ids, repeat(len(vocabulary)))
    return np.fromiter(found, np.int64, len(item_ids))


def columns_in_parts(item_ids: Sequence[str], vocabulary: SequenceVocabulary) -> Iterator[Rows]:
    """The same as `columns_of`, a part at a time, for who lets others go on between.

    >>> np.concatenate([*columns_in_parts(["b", "new"], SequenceVocabulary(["a", "b"]))]).tolist()
    [1, 2]
    """
    for first in range(0, len(item_ids), ITEMS_AT_ONCE):
        yield columns_of(item_ids[first : first + ITEMS_AT_ONCE], vocabulary)
