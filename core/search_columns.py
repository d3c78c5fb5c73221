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
    mean = counts.mean_length(form)
    weights = {term: _rarity(counts.holding(term, form), counts.items) for term in query}
    found = np.zeros(len(items))
    for place, (title, body) in enumerate(items):
        length = len(title) * form.title_copies + len(body) * form.body_copies
        norm = form.k1 * (1.0 - form.b + form.b * length / mean)
        score = 0.0
        for term in query:
            times = title.count(term) * form.title_copies
            if form.body_copies:
                times += body.count(term) * form.body_copies
            if times:
                score += weights[term] * times / (norm + times)
        found[place] = score
    return found


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
    found = {
        f"{BM25_PREFIX}{name}": bm25(query, items, counts, form) for name, form in forms.items()
    }
    wanted = set(query)
    title_share, whole_share = np.zeros(len(items)), np.zeros(len(items))
    if wanted:
        for place, (title, body) in enumerate(items):
            in_title = wanted.intersection(title)
            title_share[place] = len(in_title) / len(wanted)
            whole_share[place] = len(in_title | wanted.intersection(body)) / len(wanted)
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
