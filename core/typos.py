"""Whether one word was probably typed for another. It knows no words.

Conservative on purpose: a word of another language is near some word of any large catalogue, and a
wrong correction costs a shopper more than none.
"""

from __future__ import annotations

from core.query_text import edits

SHORTEST = 4
LONGEST = 30
ANY_EDIT_FROM = 6
TWO_EDITS_FROM = 8
SLIP, EDIT, TWO_EDITS, UNSURE = range(4)
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_VOWELS = frozenset("aeiouy")


def most_edits(word: str) -> int:
    """How many edits a word of this length may be away from what was meant; 0 for none.

    Numbers and model codes have none: a near one is another product.

    >>> most_edits("cup"), most_edits("haert"), most_edits("headfones"), most_edits("mx500s")
    (0, 1, 2, 0)
    """
    if not SHORTEST <= len(word) <= LONGEST or any(one.isdigit() for one in word):
        return 0
    return 2 if len(word) >= TWO_EDITS_FROM else 1


def mistake(typed: str, meant: str) -> int | None:
    """What kind of mistake leads from a word to what was typed, likelier ones first; None for none.

    A slip is an accent, two neighbours swapped, a letter doubled or not, or the key beside. In a
    word of five letters nothing else is likely but a letter left out or put in inside it, or a
    vowel for another; the rest, and all in shorter ones, is to be believed only beside words that
    go with it. The first letter is seldom wrong. Source: Pollock and Zamora 1984 ("Automatic
    spelling correction in scientific and scholarly text").

    >>> mistake("haert", "heart"), mistake("shrts", "shirts"), mistake("headfones", "headphones")
    (0, 1, 2)
    >>> mistake("tasse", "tassel"), mistake("hund", "hand"), mistake("stuhl", "stool")
    (3, 3, None)
    """
    most = most_edits(typed)
    found = edits(typed, meant, most) if most and len(meant) >= SHORTEST else most + 1
    if found > most:
        return None
    if not found:
        return SLIP
    if found == 2:
        return TWO_EDITS if typed[0] == meant[0] else None
    return SLIP if _slip(typed, meant) else _single(typed, meant)


def _slip(typed: str, meant: str) -> bool:
    at = _first_difference(typed, meant)
    if len(typed) == len(meant):
        one, other = typed[at : at + 2], meant[at : at + 2]
        return (one == other[::-1] and one != other) or beside(typed[at], meant[at])
    longer = max(typed, meant, key=len)
    return at > 0 and longer[at] == longer[at - 1]


def _single(typed: str, meant: str) -> int | None:
    at = _first_difference(typed, meant)
    longer = max(typed, meant, key=len)
    if at == 0:
        return None
    if len(typed) >= ANY_EDIT_FROM:
        return EDIT
    if len(typed) == SHORTEST:
        return UNSURE
    changed = len(typed) == len(meant)
    likely = {typed[at], meant[at]} <= _VOWELS if changed else at < len(longer) - 1
    return EDIT if likely else UNSURE


def _first_difference(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def beside(one: str, other: str) -> bool:
    """Whether two letters are neighbours on a keyboard of the usual order.

    >>> beside("a", "s"), beside("i", "k"), beside("a", "l")
    (True, True, False)
    """
    mine, theirs = _key(one), _key(other)
    if mine is None or theirs is None:
        return False
    rows, columns = abs(mine[0] - theirs[0]), abs(mine[1] - theirs[1])
    return rows <= 1 and columns <= 1.0 and (rows, columns) != (0, 0.0)


def _key(letter: str) -> tuple[int, float] | None:
    """The row of a letter's key and how far it is from the left, in keys."""
    for row, keys in enumerate(_ROWS):
        if (at := keys.find(letter)) >= 0:
            return row, at + row / 2
    return None
