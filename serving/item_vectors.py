"""The items' vectors under one search version: embedded in the background, searched exactly.

Until all are embedded, those that are can be found; `share` says how far it is. It knows rows and
titles, no requests.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from adapters.text_version import SearchVersion
from adapters.vector_cache import VectorCache

FIRST_ROWS = 256
AT_ONCE = 64
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


class ItemVectors:
    """One matrix that grows by doubling; `embed` belongs to one thread, all else to any.

    Args:
        version: embeds titles.
        cache: where vectors are kept between runs.
    """

    def __init__(self, version: SearchVersion, cache: VectorCache) -> None:
        self.version = version
        self._cache = cache
        self._lock = threading.Lock()
        self._matrix: Floats = np.zeros((FIRST_ROWS, version.width), np.float32)
        self._done: Bools = np.zeros(FIRST_ROWS, np.bool_)
        self._waiting: dict[int, str] = {}
        self._wanted = 0
        self.embedded = 0

    @property
    def share(self) -> float:
        """Part of the items that have a vector, 1 when there are none."""
        return 1.0 - len(self._waiting) / self._wanted if self._wanted else 1.0

    @property
    def size_bytes(self) -> int:
        """Bytes of the matrix."""
        return self._matrix.nbytes

    @property
    def done(self) -> Bools:
        """Which rows have a vector, shape (rows,)."""
        with self._lock:
            return self._done[: self._wanted].copy()

    def covers(self, other: ItemVectors) -> bool:
        """Whether every row that has a vector there has one here."""
        theirs, mine = other.done, self.done
        both = min(len(theirs), len(mine))
        return not (theirs[both:].any() or (theirs[:both] & ~mine[:both]).any())

    def want(self, row: int, title: str, *, anew: bool = True) -> None:
        """Asks for a row's vector under this title; at once where it is kept on disk.

        Not `anew`, only where none was asked for: whoever did knows a newer title.
        """
        known = self._cache.get(title)
        with self._lock:
            if not anew and (row in self._waiting or self._done[row : row + 1].any()):
                return
            self._wanted = max(self._wanted, row + 1)
            while row >= len(self._done):
                self._matrix = np.concatenate([self._matrix, np.zeros_like(self._matrix)])
                self._done = np.concatenate([self._done, np.zeros_like(self._done)])
            self._done[row] = known is not None
            if known is None:
                self._waiting[row] = title
            else:
                self._matrix[row] = known
                self._waiting.pop(row, None)

    def embed(self) -> int:
        """Embeds some of what waits, shortest titles first; how many."""
        with self._lock:
            some = list(self._waiting.items())[: AT_ONCE * 16]
        some = sorted(some, key=lambda one: len(one[1]))[:AT_ONCE]
        if not some:
            return 0
        titles = [title for _, title in some]
        vectors = self._cache.put(titles, self.version.product_vectors(titles))
        with self._lock:
            for (row, title), vector in zip(some, vectors, strict=True):
                if self._waiting.get(row) == title:
                    self._matrix[row], self._done[row] = vector, True
                    del self._waiting[row]
        self.embedded += len(some)
        return len(some)

    def cosines(self, query: Floats) -> Floats:
        """The cosine of a query, shape (width,), with every row; NaN where there is none yet."""
        with self._lock:
            matrix, done = self._matrix[: self._wanted], self._done[: self._wanted].copy()
        found = matrix @ query
        found[~done] = np.nan
        return np.asarray(found, np.float32)
