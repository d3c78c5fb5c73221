"""Which texts are nearly the same: MinHash finds pairs that may be, their shingles decide.

*Source:* Broder, "On the resemblance and containment of documents", 1997.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE = 5
LONGEST = 4_000
"""Characters of a text that are compared."""
_BANDS, _ROWS = 12, 3
_MOST_IN_BUCKET = 50
_PRIME = np.uint64(1_099_511_628_211)
_Hashes = NDArray[np.uint64]


def sameness_key(text: str) -> str:
    """What two spellings of one text share: letters and digits alone, without case and width.

    >>> sameness_key("  My card’s LATE!! "), sameness_key("很好，快。"), sameness_key(":-)")
    ('my card s late', '很好 快', ':-)')
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(one if one.isalnum() else " " for one in folded).split()
    return " ".join(words) or text.strip()


def near_pairs(
    texts: Sequence[str], threshold: float, within: Sequence[str] | None = None
) -> list[tuple[int, int]]:
    """Pairs of positions (lower first) whose shingles have a Jaccard similarity of the threshold.

    Args:
        texts: as `sameness_key` gives them.
        threshold: a pair this far above a half is found with a chance of 0.99 and more from 0.8 on.
        within: a pair is one only where these are equal.

    >>> near_pairs(["a card that never came home", "a card that never came hom", "blue"], 0.9)
    [(0, 1)]
    """
    if len(texts) < 2:
        return []
    sets = _shingles(texts)
    found: set[tuple[int, int]] = set()
    for bucket in _buckets(_signatures(sets)):
        for position, first in enumerate(bucket):
            # Texts that are all alike would make a bucket's pairs many; some are enough.
            for second in bucket[position + 1 : position + 1 + _MOST_IN_BUCKET]:
                pair = (first, second)
                apart = within is not None and within[first] != within[second]
                if pair not in found and not apart and _jaccard(sets, pair) >= threshold:
                    found.add(pair)
    return sorted(found)


def clusters(count: int, pairs: Sequence[tuple[int, int]]) -> list[int]:
    """For each position the lowest one that pairs lead to.

    >>> clusters(4, [(1, 2), (2, 3)])
    [0, 1, 1, 1]
    """
    lowest = list(range(count))

    def root(one: int) -> int:
        while lowest[one] != one:
            lowest[one] = lowest[lowest[one]]
            one = lowest[one]
        return one

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        lowest[high] = low
    return [root(one) for one in range(count)]


def _shingles(texts: Sequence[str]) -> list[_Hashes]:
    found = []
    for text in texts:
        raw = text[:LONGEST].ljust(SHINGLE).encode("utf-32-le", "surrogatepass")
        codes = np.frombuffer(raw, dtype=np.uint32).astype(np.uint64)
        hashes = np.zeros(len(codes) - SHINGLE + 1, dtype=np.uint64)
        for place in range(SHINGLE):
            hashes = hashes * _PRIME + codes[place : len(codes) - SHINGLE + 1 + place]
        found.append(np.unique(_mixed(hashes)))
    return found


def _mixed(hashes: _Hashes) -> _Hashes:
    # The finaliser of splitmix64: neighbouring shingles must not hash to neighbouring numbers.
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: _Hashes = hashes ^ (hashes >> np.uint64(31))
    return mixed


def _signatures(sets: Sequence[_Hashes]) -> _Hashes:
    """The least hash of each set under each function; shape `(n_texts, bands * rows)`."""
    every = np.concatenate(sets)
    starts = np.concatenate(([0], np.cumsum([len(one) for one in sets])[:-1]))
    found = np.empty((len(sets), _BANDS * _ROWS), dtype=np.uint64)
    salts = _mixed(
        np.arange(1, _BANDS * _ROWS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    )
    for number, salt in enumerate(salts):
        found[:, number] = np.minimum.reduceat(_mixed(every ^ salt), starts)
    return found


def _buckets(signatures: _Hashes) -> Iterator[list[int]]:
    for band in range(_BANDS):
        places: dict[bytes, list[int]] = {}
        columns = np.ascontiguousarray(signatures[:, band * _ROWS : (band + 1) * _ROWS])
        for position, row in enumerate(columns):
            places.setdefault(row.tobytes(), []).append(position)
        yield from (bucket for bucket in places.values() if len(bucket) > 1)


def _jaccard(sets: Sequence[_Hashes], pair: tuple[int, int]) -> float:
    first, second = sets[pair[0]], sets[pair[1]]
    short, long = sorted((len(first), len(second)))
    if short == long and np.array_equal(first, second):
        return 1.0
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (short + long - common)
