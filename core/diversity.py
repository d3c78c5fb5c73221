"""Lists whose items are unlike each other: maximal marginal relevance over the best candidates.

How alike two items are is told from their categories and titles. It knows no visitors, rules or
requests.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.catalogue import CATEGORY_SEPARATOR, Catalogue, Rows
from core.item_text import TEXT_WIDTH, text_vectors

MOST_TITLES = 20_000
_DEEPEST = 4

Floats = NDArray[np.float32]


def mmr(
    relevance: NDArray[np.float64], likeness: Floats, diversity: float, picks: int
) -> list[int]:
    """All n candidates, the first `picks` by maximal marginal relevance, the rest as they were.

    `relevance` (n,) is falling and is brought to [0, 1]; `likeness` (n, n) lies in [0, 1]. Each
    place takes the candidate of the highest (1 - diversity) relevance - diversity likeness, which
    is to the most alike of those taken before it; equal ones keep their order.

    *Source:* Carbonell and Goldstein 1998, "The use of MMR, diversity-based reranking for
    reordering documents and producing summaries", section 2, with lambda = 1 - diversity.

    >>> alike = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]], np.float32)
    >>> mmr(np.array([3.0, 2.0, 1.0]), alike, 0.7, 3), mmr(np.array([3.0, 2.0, 1.0]), alike, 0.0, 3)
    ([0, 2, 1], [0, 1, 2])
    """
    n = len(relevance)
    if diversity <= 0.0 or n < 2:
        return list(range(n))
    lowest = float(relevance.min())
    span = float(relevance.max()) - lowest
    gain = (relevance - lowest) * ((1.0 - diversity) / span if span > 0 else 0.0)
    loss = likeness * np.float32(diversity)
    nearest = np.zeros(n, np.float32)
    taken: list[int] = []
    for _ in range(min(picks, n)):
        best = int((gain - nearest).argmax())
        taken.append(best)
        gain[best] = -np.inf
        np.maximum(nearest, loss[best], out=nearest)
    left = np.ones(n, np.bool_)
    left[taken] = False
    return taken + left.nonzero()[0].tolist()


def list_likeness(likeness: Floats, listed: list[int]) -> float:
    """Mean likeness of the pairs of a list, 0 for fewer than two items.

    *Source:* Ziegler, McNee, Konstan, Lausen 2005, "Improving recommendation lists through topic
    diversification", section 3.3 (intra-list similarity, here by pair).

    >>> round(list_likeness(np.array([[1, 0.2], [0.2, 1]], np.float32), [0, 1]), 3)
    0.2
    """
    n = len(listed)
    if n < 2:
        return 0.0
    among = likeness[np.ix_(listed, listed)]
    return float((among.sum() - np.trace(among)) / (n * (n - 1)))


class ItemLikeness:
    """How alike items are: half by category, half by title; by title alone where one has none.

    Categories are as alike as the share of their path that they have in common. Vectors of titles
    are remembered, up to `most` of them. One owner, one thread.
    """

    def __init__(self, most: int = MOST_TITLES) -> None:
        self._most = most
        self._catalogue: Catalogue | None = None
        self._version = 0
        self._slot_of: dict[int, int] = {}
        self._free: list[int] = []
        self._vectors: Floats = np.zeros((0, TEXT_WIDTH), np.float32)
        self._paths: NDArray[np.int32] = np.zeros((0, _DEEPEST), np.int32)
        self._heads: dict[str, int] = {}

    def matrix(self, catalogue: Catalogue, rows: Rows) -> Floats:
        """Likeness of each to each, in [0, 1], shape (len(rows), len(rows)), ones on the diagonal.

        >>> shop = Catalogue()
        >>> for name, at in (("RED CUP", "Home/Kitchen"), ("RED LAMP", "Home/Light"), ("X", "Y")):
        ...     shop.put(shop.row(name), name, None, True, category=at)
        >>> ItemLikeness().matrix(shop, np.array([0, 1, 2])).round(1).tolist()[0]
        [1.0, 0.5, 0.0]
        """
        slots = self.learn(catalogue, rows)
        vectors = self._vectors[slots]
        alike = np.maximum(vectors @ vectors.T, np.float32(0))
        share, known = self._categories(catalogue.category[rows])
        alike += np.where(known, (share - alike) / 2, 0)
        np.fill_diagonal(alike, 1.0)
        return np.asarray(alike, np.float32)

    def learn(self, catalogue: Catalogue, rows: Rows) -> list[int]:
        """Where the titles' vectors are; done ahead of time, it saves `matrix` that time."""
        self._follow(catalogue)
        slots = [self._slot_of.get(row, -1) for row in rows.tolist()]
        return self._learn(catalogue, rows.tolist()) if -1 in slots else slots

    def _categories(self, codes: NDArray[np.int32]) -> tuple[Floats, NDArray[np.bool_]]:
        """The share of the path that two categories have in common, and whether both have one."""
        heads = self._paths[codes].T
        others = np.where(heads < 0, -2, heads)
        common = np.zeros((len(codes), len(codes)), np.float32)
        for one, other in zip(heads, others, strict=True):
            common += one[:, None] == other
        depth = (heads >= 0).sum(axis=0)
        deeper = np.maximum(np.maximum(depth[:, None], depth), 1)
        return np.asarray(common / deeper, np.float32), np.multiply.outer(depth, depth) > 0

    def _follow(self, catalogue: Catalogue) -> None:
        """Forgets the titles that may have changed and learns the categories that are new."""
        if catalogue is not self._catalogue:
            self._catalogue, self._version = catalogue, catalogue.version
            self._paths = np.zeros((0, _DEEPEST), np.int32)
            self._forget()
        if self._version != catalogue.version:
            changed = catalogue.changed_since(self._version)
            self._version = catalogue.version
            if changed is None:
                self._forget()
            else:
                known = (self._slot_of.pop(row, -1) for row in changed.tolist())
                self._free += [slot for slot in known if slot >= 0]
        fresh = catalogue.categories[len(self._paths) :]
        if fresh:
            more = np.array([self._path(name) for name in fresh], np.int32)
            self._paths = np.concatenate([self._paths, more])

    def _path(self, category: str) -> list[int]:
        """A number for each head of a category's path, -1 where it is shorter."""
        parts = category.split(CATEGORY_SEPARATOR)[:_DEEPEST] if category else []
        heads = [CATEGORY_SEPARATOR.join(parts[: end + 1]) for end in range(len(parts))]
        found = [self._heads.setdefault(head, len(self._heads)) for head in heads]
        return found + [-1] * (_DEEPEST - len(found))

    def _learn(self, catalogue: Catalogue, rows: list[int]) -> list[int]:
        if len(self._slot_of) + len(rows) > self._most:
            self._forget()
        missing = [row for row in dict.fromkeys(rows) if row not in self._slot_of]
        free = self._taken(len(missing))
        self._vectors[free] = text_vectors([catalogue.titles[row] for row in missing])
        self._slot_of.update(zip(missing, free, strict=True))
        return [self._slot_of[row] for row in rows]

    def _forget(self) -> None:
        self._slot_of.clear()
        self._free = list(range(len(self._vectors)))

    def _taken(self, wanted: int) -> list[int]:
        """Slots that were free."""
        missing = wanted - len(self._free)
        if missing > 0:
            first = len(self._vectors)
            extra = max(missing, min(first, self._most - first))
            self._vectors = np.concatenate(
                [self._vectors, np.zeros((extra, TEXT_WIDTH), np.float32)]
            )
            self._free += range(first, first + extra)
        taken = self._free[:wanted]
        del self._free[:wanted]
        return taken
