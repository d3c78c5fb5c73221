"""The columns of a search's blend that words alone give: BM25 by field, and shares of words.

Terms are numbers that the caller gave to stems; a word of the query that no item has is a negative
number of its own. It knows neither texts nor an index: whoever keeps the items keeps the counts.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Terms = array  # of "i": the stems of one text, in order
NO_TERMS: Terms[int] = array("i")
DENSE, CROSS = "dense", "cross"
TITLE_SHARE, PRODUCT_SHARE, TITLE_ALL = "title_share", "product_share", "title_all"
BM25_PREFIX = "bm25_"


class Bm25Form(msgspec.Struct, frozen=True, kw_only=True):
    """The free parameters of BM25 and how often a title counts beside its description."""

    k1: float = 1.2
    b: float = 0.75
    title_copies: int = 1
    body_copies: int = 1


@dataclass
class TermCounts:
    """What BM25 needs of the whole catalogue; items come and go by `add` and `remove`."""

    items: int = 0
    title_terms: int = 0
    body_terms: int = 0
    in_title: Counter[int] = field(default_factory=Counter)
    in_body: Counter[int] = field(default_factory=Counter)
    in_either: Counter[int] = field(default_factory=Counter)

    def add(self, title: Sequence[int], body: Sequence[int]) -> None:
        """Counts one more item."""
        self._count(title, body, 1)

    def remove(self, title: Sequence[int], body: Sequence[int]) -> None:
        """Takes an item's counts back."""
        self._count(title, body, -1)

    def holding(self, term: int, form: Bm25Form) -> int:
        """How many items have the term in what this form of BM25 reads."""
        if not form.body_copies:
            return self.in_title[term]
        return self.in_either[term] if form.title_copies else self.in_body[term]

    def mean_length(self, form: Bm25Form) -> float:
        """Mean number of terms of an item as this form reads it; 1 for no items."""
        total = self.title_terms * form.title_copies + self.body_terms * form.body_copies
        return total / self.items if self.items and total else 1.0

    def _count(self, title: Sequence[int], body: Sequence[int], by: int) -> None:
        self.items += by
        self.title_terms += by * len(title)
        self.body_terms += by * len(body)
        for counts, terms in (
            (self.in_title, set(title)),
            (self.in_body, set(body)),
            (self.in_either, {*title, *body}),
        ):
            for term in terms:
                counts[term] += by


@dataclass(frozen=True)
class _Times:
    """How often each term of a query (columns) stands in each item (rows), and items' lengths."""

    terms: tuple[int, ...]
    title: Floats
    body: Floats
    title_lengths: Floats
    body_lengths: Floats


def bm25(
    query: Sequence[int],
    items: Sequence[tuple[Sequence[int], Sequence[int]]],
    counts: TermCounts,
    form: Bm25Form,
) -> Floats:
    """BM25 of each item (title, body); a word said twice counts twice.

    Source: Kamphuis et al. 2020 ("Which BM25 do you mean?"), the Lucene variant.

    >>> counts = TermCounts()
    >>> items = [([0, 1], []), ([2], [0])]
    >>> for title, body in items:
    ...     counts.add(title, body)
    >>> bm25([1], items, counts, Bm25Form(body_copies=0)).round(3).tolist()
    [0.277, 0.0]
    """
    return _bm25(query, _times(query, items), counts, form)


def _times(query: Sequence[int], items: Sequence[tuple[Sequence[int], Sequence[int]]]) -> _Times:
    terms = tuple(dict.fromkeys(query))
    shape = (len(items), len(terms))
    titles = [[title.count(term) for term in terms] for title, _ in items]
    bodies = [[body.count(term) for term in terms] if body else [0] * len(terms)
              for _, body in items]  # fmt: skip
    return _Times(
        terms,
        np.array(titles, np.float64).reshape(shape),
        np.array(bodies, np.float64).reshape(shape),
        np.array([len(title) for title, _ in items], np.float64),
        np.array([len(body) for _, body in items], np.float64),
    )


def _bm25(query: Sequence[int], times: _Times, counts: TermCounts, form: Bm25Form) -> Floats:
    said = Counter(query)
    weights = np.array(
        [said[term] * _rarity(counts.holding(term, form), counts.items) for term in times.terms]
    )
    whole = times.title * form.title_copies + times.body * form.body_copies
    lengths = times.title_lengths * form.title_copies + times.body_lengths * form.body_copies
    norms = form.k1 * (1.0 - form.b + form.b * lengths / counts.mean_length(form))
    # Nothing is divided by zero where a term is absent and k1 is 0.
    shares = np.divide(whole, whole + norms[:, None], out=np.zeros_like(whole), where=whole > 0)
    return np.asarray(shares @ weights, np.float64)


def word_columns(
    query: Sequence[int],
    items: Sequence[tuple[Sequence[int], Sequence[int]]],
    counts: TermCounts,
    forms: Mapping[str, Bm25Form],
) -> dict[str, Floats]:
    """BM25 by form, the share of the query's words in the title and in the whole, all or nothing.

    >>> counts = TermCounts()
    >>> counts.add([0, 1], [2])
    >>> found = word_columns([0, 2], [([0, 1], [2])], counts, {})
    >>> {name: column.tolist() for name, column in found.items()}
    {'title_share': [0.5], 'product_share': [1.0], 'title_all': [0.0]}
    """
    times = _times(query, items)
    found = {
        f"{BM25_PREFIX}{name}": _bm25(query, times, counts, form) for name, form in forms.items()
    }
    in_title, wanted = times.title > 0, max(len(times.terms), 1)
    title_share = in_title.sum(axis=1) / wanted
    whole_share = (in_title | (times.body > 0)).sum(axis=1) / wanted
    return {
        **found,
        TITLE_SHARE: title_share,
        PRODUCT_SHARE: whole_share,
        TITLE_ALL: (title_share == 1.0) * 1.0,
    }


def known_columns(forms: Mapping[str, Bm25Form]) -> frozenset[str]:
    """The columns that serving can compute for a version with these forms of BM25."""
    words = {f"{BM25_PREFIX}{name}" for name in forms}
    return frozenset({*words, TITLE_SHARE, PRODUCT_SHARE, TITLE_ALL, DENSE, CROSS})


def _rarity(holding: int, items: int) -> float:
    return math.log(1.0 + (items - holding + 0.5) / (holding + 0.5)) if holding else 0.0
