"""What a shopper typed, as the index and the encoders are asked for it.

Words that no item has give way to their parts or to near ones, and two to the one that items have;
the last word may be a beginning. No text is ever parsed: words become terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.tantivy_index import ItemIndex, WordQuery
from core.query_text import is_unspaced, plain_text, with_words, words
from core.search_columns import Terms
from core.word_pieces import codes, joined_up, joins, pieces
from serving.search_book import SearchBook
from serving.search_words import ShopWords

MOST_WORDS = 24
SHORTEST_BEGUN = 3
MOST_BEGUN = 8


@dataclass(frozen=True)
class Wording:
    """A query as it is searched for: `text` for the encoders, `corrected` where words changed.

    `terms` are what the columns count; `others` the same with words joined, or divided, as items
    have them, too.
    """

    text: str
    query: WordQuery
    terms: Terms[int]
    others: Sequence[Terms[int]] = ()
    corrected: str = ""


def wording(book: SearchBook, index: ItemIndex, typed: str) -> Wording:
    """The query of any text a shopper may type; one without words finds what its vector finds."""
    text = plain_text(typed).lower()
    asked = ShopWords(book, index)
    begun = _begun(asked, index, words(text)[:MOST_WORDS], typed)
    corrected = text if book.exact(typed) else _corrected(asked, text, begun)
    said = words(corrected)[:MOST_WORDS]
    parts = pieces(corrected)[:MOST_WORDS]
    pairs = joins(parts)
    ones = [pair for pair in pairs if asked.is_one(*pair)]
    cut = {word: found for word in said if (found := asked.parts(word)) is not None}
    others = [
        words(" ".join(_with_joined(parts, ones))),
        [part for word in said for part in _parts(word, cut.get(word, word))],
    ]
    known = list(dict.fromkeys([*said, *codes(corrected)[:MOST_WORDS]]))
    close = [one + other for one, other in pairs if (one, other) not in ones]
    return Wording(
        text=corrected,
        query=WordQuery(
            stems=[asked.forms(word) for word in known],
            begun=asked.all_forms(begun),
            ones=[asked.forms(one + other) for one, other in ones],
            close=[asked.forms(word) for word in close if asked.held_close(word)],
        ),
        terms=_terms(book, asked, said),
        others=[_terms(book, asked, one) for one in others if one and one != said],
        corrected=corrected if corrected != text else "",
    )


def _corrected(asked: ShopWords, text: str, begun: Sequence[str]) -> str:
    """The text with other words for those that no item has."""
    for one, other in joins(pieces(text)[:MOST_WORDS]):
        if asked.never_apart(one, other):
            text = joined_up(text, one, other)
    said = list(dict.fromkeys(words(text)))[:MOST_WORDS]
    known = {word: asked.held(word) or (word == said[-1] and bool(begun)) for word in said}
    guesses = {word: asked.guesses(word) for word in said if not known[word]}
    likely = {word: found[0][1] for word, found in guesses.items() if found}
    meant = {}
    for word, found in guesses.items():
        beside = [likely.get(one, one) for one in said if one != word]
        meant[word] = asked.meant(word, found, beside)
    return with_words(text, meant)


def _with_joined(parts: Sequence[str], ones: Sequence[tuple[str, str]]) -> list[str]:
    """The pieces with each of some pairs as one."""
    found: list[str] = []
    last = ""
    for part in parts:
        if (last, part) in ones:
            found[-1] = last + part
            last = ""
        else:
            found.append(part)
            last = part
    return found


def _parts(word: str, cut: str) -> list[str]:
    """The words of a word in two; with the whole where a part is none (`t shirt`), so that what
    has the other part alone is no whole match."""
    found = words(cut)
    return found if len(found) == len(cut.split()) else [word, *found]


def _terms(book: SearchBook, asked: ShopWords, said: Sequence[str]) -> Terms[int]:
    return book.numbered([book.heard(asked.forms(word)) for word in said])


def _begun(asked: ShopWords, index: ItemIndex, known: Sequence[str], typed: str) -> list[str]:
    """Words that the last one begins, unless a blank says that it is whole.

    Characters of a script without blanks begin words wherever they stand, alone or in a pair that
    no item has.
    """
    begins = [
        one
        for word in known
        if is_unspaced(word) and (len(word) == 1 or not asked.held(word))
        for one in word
    ]
    if known and not typed[-1:].isspace() and len(known[-1]) >= SHORTEST_BEGUN:
        begins.append(known[-1])
    found = [word for one in begins[:MOST_WORDS] for word in index.begun(one, MOST_BEGUN)]
    return [word for word in dict.fromkeys(found) if word not in known]
