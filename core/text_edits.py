"""Small changes to a text that should leave its meaning: synonym, deletion, swap, mask.

*Source:* Wei and Zou, "EDA: Easy data augmentation techniques for boosting performance on text
classification tasks", 2019; the masked span: Joshi et al., "SpanBERT", 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from core.text_language import guess_language

_UNSPACED = ("zh", "ja", "th")
_LONGEST_SPAN = 3


def pieces_of(text: str) -> tuple[list[str], str]:
    """The words and what joins them; the characters where a language has no blanks.

    >>> pieces_of("late again"), pieces_of("很快")
    ((['late', 'again'], ' '), (['很', '快'], ''))
    """
    if guess_language([text]) in _UNSPACED:
        return list(text), ""
    return text.split(), " "


def replace_words(
    pieces: Sequence[str],
    synonyms: Mapping[str, Sequence[str]],
    count: int,
    random: np.random.Generator,
) -> list[str]:
    """Up to `count` pieces that have synonyms become one of them.

    >>> replace_words(["a", "big", "box"], {"big": ["large"]}, 1, np.random.default_rng(1))
    ['a', 'large', 'box']
    """
    found = list(pieces)
    able = [place for place, piece in enumerate(found) if synonyms.get(piece.casefold())]
    for place in random.permutation(np.array(able, dtype=np.int64))[:count]:
        choices = synonyms[found[place].casefold()]
        found[place] = choices[int(random.integers(len(choices)))]
    return found


def delete_words(pieces: Sequence[str], count: int, random: np.random.Generator) -> list[str]:
    """Without `count` pieces drawn by chance; one piece always stays.

    >>> len(delete_words(["a", "b", "c"], 1, np.random.default_rng(1)))
    2
    """
    gone = set(random.permutation(len(pieces))[: min(count, len(pieces) - 1)].tolist())
    return [piece for place, piece in enumerate(pieces) if place not in gone]


def swap_words(pieces: Sequence[str], count: int, random: np.random.Generator) -> list[str]:
    """Two pieces drawn by chance change places, `count` times.

    >>> sorted(swap_words(["a", "b", "c"], 2, np.random.default_rng(1)))
    ['a', 'b', 'c']
    """
    found = list(pieces)
    for _ in range(count if len(found) > 1 else 0):
        first, second = random.choice(len(found), size=2, replace=False)
        found[first], found[second] = found[second], found[first]
    return found


def mask_span(
    pieces: Sequence[str], count: int, mask: str, random: np.random.Generator
) -> list[str]:
    """A run of up to `count` pieces (three at most) becomes that many masks; never all of them.

    >>> mask_span(["a", "b"], 5, "[MASK]", np.random.default_rng(1)).count("[MASK]")
    1
    """
    length = min(count, _LONGEST_SPAN, len(pieces) - 1)
    if length < 1:
        return list(pieces)
    start = int(random.integers(len(pieces) - length + 1))
    return [*pieces[:start], *[mask] * length, *pieces[start + length :]]
