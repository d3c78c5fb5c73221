"""What a shopper typed, as the index and the encoders are asked for it.

Words that no item has give way to near ones; the last word may be a beginning. No text is ever
parsed: words become terms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.tantivy_index import ItemIndex, WordQuery
from core.query_text import plain_text, words
from core.search_columns import Terms
from serving.search_book import SearchBook

MOST_WORDS = 24
SHORTEST_BEGUN = 3
MOST_BEGUN = 8


@dataclass(frozen=True)
class Wording:
    """A query as it is searched for: `text` for the encoders, `corrected` where words changed."""

    text: str
    query: WordQuery
    terms: Terms[int]
    corrected: str = ""


def wording(book: SearchBook, index: ItemIndex, typed: str) -> Wording:
    """The query of any text a shopper may type; one without words finds what its vector finds."""
    text = plain_text(typed).lower()
    known = list(dict.fromkeys(words(text)))[:MOST_WORDS]
    languages = book.languages
    begun = _begun(index, known, typed)
    corrections: dict[str, str] = {}
    stems = []
    for word in known:
        forms = _forms(book, word, languages)
        if not index.holds(forms) and not (word == known[-1] and begun):
            near = index.near(word)
            if near is not None:
                corrections[word] = near
                forms = _forms(book, near, languages)
        stems.append(forms)
    corrected = _replaced(text, corrections)
    stem = book.stems.of
    said = words(corrected)[: 2 * MOST_WORDS]
    return Wording(
        text=corrected,
        query=WordQuery(stems, [form for word in begun for form in _forms(book, word, languages)]),
        terms=book.numbered([stem(word, languages[0]) for word in said]),
        corrected=corrected if corrections else "",
    )


def _forms(book: SearchBook, word: str, languages: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(book.stems.of(word, language) for language in languages))


def _begun(index: ItemIndex, known: Sequence[str], typed: str) -> list[str]:
    """Words that the last one begins, unless a blank says that it is whole."""
    if not known or typed[-1:].isspace() or len(known[-1]) < SHORTEST_BEGUN:
        return []
    return [word for word in index.begun(known[-1], MOST_BEGUN) if word != known[-1]]


def _replaced(text: str, corrections: dict[str, str]) -> str:
    if not corrections:
        return text
    return re.sub(r"\w+", lambda found: corrections.get(found[0], found[0]), text)
