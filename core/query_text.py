"""Texts of people as search reads them: visible characters, one blank between words, no markup.

What an encoder was trained on was tidied in the same way, but for broken encodings, which are left
as they are here.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping

_BLOCK = re.compile(r"<(script|style)\b[^>]{0,1000}>")
_BLOCK_END = {name: re.compile(rf"</{name}\s*>") for name in ("script", "style")}
_TAG = re.compile(r"<[a-zA-Z/!][^<>]{0,1000}>")
# Vowel signs and accents that stand for themselves; to `re` they are no part of a word.
MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1-\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u0900-\u0963\u0966-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ece\u102b-\u103e"
    "\u17b4-\u17d3"
)
_WORD = re.compile(rf"\w[\w{MARKS}]+")
_ANY_WORD = re.compile(rf"\w[\w{MARKS}]*")
# Han, kana and hangul: written without blanks, so that words are not to be seen.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af]+")
_BYTE_ORDER_MARK = "\ufeff"
_AFTER_GREEK = "\u0400"  # accents on letters before it are left out in reading
_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ı": "i", "þ": "th"}
)
# The list that the trainer's BM25 leaves out: Lucene's for English.
STOP_WORDS = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is",
        "it", "no", "not", "of", "on", "or", "such", "that", "the", "their", "then", "there",
        "these", "they", "this", "to", "was", "will", "with",
    }
)  # fmt: skip


def plain_text(text: str) -> str:
    """The text without control characters, markup and spare blanks.

    >>> plain_text("Blue &amp; <b>white</b>\\x00 cup ")
    'Blue & white cup'
    """
    if "<" in text or "&" in text:
        text = _without_markup(html.unescape(text) if "&" in text else text)
    if not text.isascii() or not text.isprintable():
        text = "".join(one if _readable(one) else " " for one in text)
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def _without_markup(text: str) -> str:
    """A blank for each tag, and for each script and style with what is in it; read once."""
    kept: list[str] = []
    unclosed: set[str] = set()
    begun, at = 0, text.find("<")
    while at >= 0:
        end = _end_of_markup(text, at, unclosed)
        if end is not None:
            kept.append(text[begun:at])
            begun = end
        at = text.find("<", at + 1 if end is None else end)
    return " ".join([*kept, text[begun:]])


def _end_of_markup(text: str, at: int, unclosed: set[str]) -> int | None:
    """Where what begins here ends, if it is markup; `unclosed` blocks have no end from here on."""
    block = _BLOCK.match(text, at)
    if block is not None and block[1] not in unclosed:
        end = _BLOCK_END[block[1]].search(text, block.end())
        if end is not None:
            return end.end()
        unclosed.add(block[1])
    tag = _TAG.match(text, at)
    return tag.end() if tag is not None else None


def folded(text: str) -> str:
    """The text with plain Latin and Greek letters: no accents, ligatures and full-width forms.

    >>> folded("crème brûlée"), folded("straße"), folded("ｔｖ"), folded("й")
    ('creme brulee', 'strasse', 'tv', 'й')
    """
    if text.isascii():
        return text
    kept: list[str] = []
    letter = ""
    for one in unicodedata.normalize("NFKD", text):
        if not unicodedata.combining(one):
            letter = one
        elif letter < _AFTER_GREEK:
            continue
        kept.append(one)
    return unicodedata.normalize("NFC", "".join(kept)).translate(_LETTERS)


def with_words(text: str, others: Mapping[str, str]) -> str:
    """The text with some of its words in place of others.

    >>> with_words("red lmap, 2", {"lmap": "lamp"})
    'red lamp, 2'
    """
    if not others:
        return text
    return _ANY_WORD.sub(lambda found: others.get(found[0], found[0]), text)


def is_unspaced(word: str) -> bool:
    """Whether it begins with a character of a script without blanks.

    >>> is_unspaced("\u676f"), is_unspaced("a")
    (True, False)
    """
    return _UNSPACED.match(word) is not None


def words(text: str) -> list[str]:
    """Lower-case words of two characters and more without stop words; unspaced scripts by pairs.

    >>> words("The Red-Heart cup"), words("\u7ea2\u8272\u676f 7")
    (['red', 'heart', 'cup'], ['\u7ea2\u8272', '\u8272\u676f'])
    """
    found: list[str] = []
    for word in _spaced(text.lower()):
        if _UNSPACED.match(word):
            found += _pairs(word)
        elif word not in STOP_WORDS:
            found.append(word)
    return found


def _spaced(text: str) -> list[str]:
    if text.isascii():
        return _WORD.findall(text)
    apart = _UNSPACED.sub(lambda found: f" {found[0]} ", text)
    return [
        one
        for part in apart.split()
        for one in ([part] if _UNSPACED.fullmatch(part) else _WORD.findall(part))
    ]


def _pairs(run: str) -> list[str]:
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]


def _readable(one: str) -> bool:
    return one != _BYTE_ORDER_MARK and unicodedata.category(one) not in ("Cc", "Cs", "Cn", "Co")


def edits(one: str, other: str, most: int) -> int:
    """Insertions, deletions, changes and swaps of neighbours between two words, up to `most` + 1.

    Source: Damerau 1964; the restricted form, in which no piece is edited twice.

    >>> edits("haert", "heart", 2), edits("cup", "lamp", 1)
    (1, 2)
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, mine in enumerate(one, start=1):
        last, before, row = before, row, [i]
        for j, theirs in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (mine != theirs))
            if i > 1 and j > 1 and mine == other[j - 2] and one[i - 2] == theirs:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)
