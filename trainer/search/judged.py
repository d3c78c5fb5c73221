"""Query and product pairs as columns, one row a pair, with the words of both cleaned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.corpus.examples import Example
from trainer.corpus.settings import CleanSettings
from trainer.corpus.tidy import tidied

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

_RULE = re.compile(r"[\w.#:, -]*\{[^{}]*\}")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Judged:
    """Rows of judged pairs; `query_of` is the place of a row's query in `queries`.

    `part_of` says from which of the given parts a query came. Grades run from 0, what is worth
    nothing, upwards.
    """

    queries: list[str]
    part_of: Places
    query_of: Places
    titles: list[str]
    bodies: list[str]
    grades: Floats
    weights: Floats
    item_ids: list[str]

    def __len__(self) -> int:
        """How many pairs there are."""
        return len(self.titles)

    def by_query(self) -> list[Places]:
        """The rows of each query, in the order of `queries`."""
        order = np.argsort(self.query_of, kind="stable")
        ends = np.cumsum(np.bincount(self.query_of, minlength=len(self.queries)))
        return np.split(order, ends[:-1])

    def of_queries(self, chosen: Iterable[int]) -> Judged:
        """The part that belongs to some of the queries."""
        kept = sorted(set(chosen))
        renamed = {query: place for place, query in enumerate(kept)}
        rows = np.flatnonzero(np.isin(self.query_of, kept))
        return Judged(
            [self.queries[query] for query in kept],
            self.part_of[kept],
            np.array([renamed[int(q)] for q in self.query_of[rows]], dtype=np.int64),
            [self.titles[i] for i in rows],
            [self.bodies[i] for i in rows],
            self.grades[rows],
            self.weights[rows],
            [self.item_ids[i] for i in rows],
        )


def judged(*parts: Sequence[Example], lowest: float | None = None) -> Judged:
    """The graded examples of each part as rows; `lowest` is the grade that is worth nothing.

    A product's title is the first line of `pair`, what follows describes it. Without `lowest` it is
    the lowest grade of the first part.
    """
    graded = [
        (part, one) for part, each in enumerate(parts) for one in each if one.value is not None
    ]
    keys = sorted({(part, _key(one)) for part, one in graded})
    place = {key: i for i, key in enumerate(keys)}
    spoken = {(part, _key(one)): clean_text(one.text).lower() for part, one in graded}
    if lowest is None:
        lowest = min((one.value or 0.0 for part, one in graded if part == 0), default=0.0)
    products = [product(one.pair) for _, one in graded]
    return Judged(
        [spoken[key] for key in keys],
        np.array([part for part, _ in keys], dtype=np.int64),
        np.array([place[part, _key(one)] for part, one in graded], dtype=np.int64),
        [title for title, _ in products],
        [body for _, body in products],
        np.array([max((one.value or 0.0) - lowest, 0.0) for _, one in graded], dtype=np.float64),
        np.array([one.weight for _, one in graded], dtype=np.float64),
        [one.example_id for _, one in graded],
    )


def product(text: str) -> tuple[str, str]:
    """Title and description of a product's text, both cleaned.

    >>> product("Blue &amp; white cup\\n<p>Holds  tea</p>")
    ('Blue & white cup', 'Holds tea')
    """
    title, _, body = text.strip().partition("\n")
    return clean_text(title), clean_text(body)


def clean_text(text: str) -> str:
    """The text as a corpus tidies it, and without rules of style sheets, which shops leave in it.

    >>> clean_text("<style>.a{b:c}</style>Caf\\u00c3\\u00a9 &eacute; <b>x</b>")
    'Café é x'
    """
    plain = tidied(text, CleanSettings()) or ""
    if "{" in plain:
        plain = _SPACE.sub(" ", _RULE.sub(" ", plain)).strip()
    return plain


def _key(one: Example) -> str:
    return one.group or one.text
