"""One thing written in several ways: with a blank, with a hyphen, as one word; and signs in words.

`words` of `core/query_text.py` are what BM25's columns count. Pieces are finer: single letters,
`c++`, `3.5`, `1/4` and `50%` are pieces, too, and two neighbours make one joined word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from core.query_text import MARKS, STOP_WORDS, is_unspaced, words

LONGEST_JOINED = 30
_NUMBER = r"(?<!\d)(?<!\d[.,/])\d++(?:[.,/]\d++)*+"  # each is read once, however long
_BY = re.compile(rf"({_NUMBER})[\"'\u2019\u201d\u2033]?\s*[x\u00d7]\s*(?=\d)")
_THOUSANDS = re.compile(r"(?<![\d.,/])\d{1,3}(?:,\d{3})+(?![\d.,/])")
_PIECE = re.compile(
    rf"\d+(?:[.,/]\d+)+%?|\w+[{MARKS}]*(?:[\w{MARKS}]+)?(?:(?:\+{{1,2}}|\#|%)(?![\w+#]))?"
)
_SIGNED = ("+", "#", "%")


def pieces(text: str) -> list[str]:
    """The pieces of a text in order, lower-case, with numbers in one form.

    >>> pieces('T-Shirt C++ USB-C 3,5 mm, 1\u00bd" 50% 8" x 10" 10,000')
    ['t', 'shirt', 'c++', 'usb', 'c', '3.5', 'mm', '1', '1/2', '50%', '8x10', '10000']
    """
    text = text.lower()
    if not text.isascii():
        text = "".join(_fraction(one) for one in text)
    text = _THOUSANDS.sub(lambda found: found[0].replace(",", ""), text)
    text = _BY.sub(r"\1x", text)
    return [one.replace(",", ".") for one in _PIECE.findall(text)]


def codes(text: str) -> list[str]:
    """The pieces that are no words: single letters and digits, and what has signs in it.

    >>> codes("Vitamin C 5% serum, a C# course")
    ['c', '5%', 'c#']
    """
    known = {*words(text), *STOP_WORDS}
    return [one for one in dict.fromkeys(pieces(text)) if one not in known and not is_unspaced(one)]


def joins(found: Sequence[str]) -> list[tuple[str, str]]:
    """The neighbours among pieces that one word might stand for.

    >>> joins(["of", "the", "head", "phones", "c++"])
    [('the', 'head'), ('head', 'phones'), ('phones', 'c++')]
    """
    return [
        (one, other)
        for one, other in dict.fromkeys(pairwise(found))
        if len(one) + len(other) <= LONGEST_JOINED
        and not one.endswith(_SIGNED)
        and not (one in STOP_WORDS and other in STOP_WORDS)
        and not (is_unspaced(one) or is_unspaced(other))
    ]


def joined_up(text: str, one: str, other: str) -> str:
    """The text with two neighbouring pieces as one word.

    >>> joined_up("red head-phones", "head", "phones")
    'red headphones'
    """
    apart = rf"(?<!\w){re.escape(one)}[^\w+#%]+{re.escape(other)}(?!\w)"
    return re.sub(apart, one + other, text)


def _fraction(one: str) -> str:
    """A fraction as digits apart from what is before it, any other character as it is."""
    if not unicodedata.decomposition(one).startswith("<fraction>"):
        return one
    return " " + unicodedata.normalize("NFKC", one).replace("\u2044", "/")
