"""Words that a corpus uses alike: near in what stands beside them, and in the labels they go with.

Words of opposite meaning stand in the same places ("good", "bad"), so nearness alone would turn a
label round; a pair counts only where both words go with the labels alike.

*Source:* Levy and Goldberg, "Neural word embedding as implicit matrix factorization", 2014 (PPMI).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_USES = 5
MOST_WORDS = 2_000
_WINDOW = 2
_LEAST_COSINE = 0.5
_MOST_LABEL_DISTANCE = 0.2
_MOST_SYNONYMS = 3
Floats = NDArray[np.float64]


def synonyms_of(texts: Sequence[Sequence[str]], labels: Sequence[str]) -> dict[str, list[str]]:
    """For each word the words used alike, nearest first.

    Args:
        texts: the words of each text.
        labels: the label of each text.

    >>> texts = [[a, b, "arrived", "late"] for b in ("parcel", "package") for a in "abcdef"]
    >>> synonyms_of(texts, ["delay"] * 12)["parcel"]
    ['package']
    """
    counts = Counter(word for text in texts for word in text)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS]
    words = [word for word in ordered if counts[word] >= LEAST_USES]
    if len(words) < 2:
        return {}
    number = {word: place for place, word in enumerate(words)}
    like = _cosines(_contexts(texts, number))
    like[_label_distance(texts, labels, number) > _MOST_LABEL_DISTANCE] = 0.0
    np.fill_diagonal(like, 0.0)
    found = {}
    for place, word in enumerate(words):
        nearest = np.argsort(-like[place], kind="stable")[:_MOST_SYNONYMS]
        near = [words[other] for other in nearest if like[place, other] >= _LEAST_COSINE]
        if near:
            found[word] = near
    return found


def _contexts(texts: Sequence[Sequence[str]], number: dict[str, int]) -> Floats:
    """Positive pointwise mutual information of words and their neighbours by side."""
    size = len(number)
    found = np.zeros((size, 2 * size))
    for text in texts:
        places = [number.get(word, -1) for word in text]
        for here, one in enumerate(places):
            for there in range(here + 1, min(here + 1 + _WINDOW, len(places))):
                other = places[there]
                if one >= 0 and other >= 0:
                    found[one, size + other] += 1
                    found[other, one] += 1
    rows, columns = found.sum(axis=1, keepdims=True), found.sum(axis=0, keepdims=True)
    expected = rows @ columns / max(1.0, found.sum())
    ratio = np.divide(found, expected, out=np.ones_like(found), where=found > 0)
    positive: Floats = np.maximum(0.0, np.log(ratio))
    return positive


def _cosines(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    cosines: Floats = unit @ unit.T
    return cosines


def _label_distance(
    texts: Sequence[Sequence[str]], labels: Sequence[str], number: dict[str, int]
) -> Floats:
    """Total variation between the label shares of each two words."""
    of = {label: place for place, label in enumerate(sorted(set(labels)))}
    counts = np.zeros((len(number), len(of)))
    for text, label in zip(texts, labels, strict=True):
        for word in set(text):
            if word in number:
                counts[number[word], of[label]] += 1
    shares = counts / np.maximum(1.0, counts.sum(axis=1, keepdims=True))
    distance = np.zeros((len(number), len(number)))
    for column in shares.T:
        distance += np.abs(column[:, None] - column[None, :])
    return distance / 2
