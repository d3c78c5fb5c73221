"""What a shopper typed, as the index and the encoders are asked for it.

Words that no item has give way to their parts or to near ones; the last word may be a beginning. No
text is ever parsed: words become terms.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.tantivy_index import ItemIndex, WordQuery
from core.query_text import is_one_letter_unspaced, plain_text, with_words, words
from core.search_columns import Terms
from serving.search_book import ALL_LANGUAGES, SearchBook

MOST_WORDS = 24
SHORTEST_BEGUN = 3
MOST_BEGUN = 8
SHORTEST_PART, LONGEST_DIVIDED = 3, 30
MOST_DIVIDED = 6
_RUNS = re.compile(r"\d+|[^\W\d_]+")


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
    asked, named = _Words(book, index), bool(book.exact(typed))
    begun = _begun(index, known, typed)
    corrections: dict[str, str] = {}
    stems: list[list[str]] = []
    for word in known:
        forms = asked.forms(word)
        whole = named or index.holds(forms) or (word == known[-1] and begun)
        meant = None if whole else asked.meant(word)
        if meant is not None:
            corrections[word] = meant
        stems += [forms] if meant is None else [asked.forms(part) for part in words(meant)]
    corrected = with_words(text, corrections)
    said = words(corrected)[: 2 * MOST_WORDS]
    return Wording(
        text=corrected,
        query=WordQuery(stems, asked.all_forms(begun)),
        terms=book.numbered([book.heard(asked.forms(word)) for word in said]),
        corrected=corrected if corrections else "",
    )


class _Words:
    """Words as this shop's items have them."""

    def __init__(self, book: SearchBook, index: ItemIndex) -> None:
        self._book = book
        self._index = index
        self._known: dict[str, list[str]] = {}
        self._tried = 0

    def forms(self, word: str) -> list[str]:
        """The stems of a word: in the main languages, or in any where those have none."""
        known = self._known.get(word)
        if known is None:
            known = self._stems(word, self._book.languages())
            if not self._index.holds(known):
                known = self._stems(word, self._book.languages(ALL_LANGUAGES))
            self._known[word] = known
        return known

    def all_forms(self, several: Sequence[str]) -> list[str]:
        """The stems of several words, each once."""
        return list(dict.fromkeys(form for word in several for form in self.forms(word)))

    def meant(self, word: str) -> str | None:
        """What was probably meant by a word that no item has: of two guesses the more frequent."""
        guesses = [self._divided(word), self._index.near(word)]
        items = {
            guess: self._index.together([self.forms(part) for part in words(guess)])
            for guess in guesses
            if guess is not None and guess != word
        }
        return max(items, key=lambda guess: items[guess], default=None)

    def _divided(self, word: str) -> str | None:
        """The word in parts that items have: a name and a number, or two words in one item."""
        self._tried += 1
        if self._tried > MOST_DIVIDED or len(word) > LONGEST_DIVIDED:
            return None
        runs = _RUNS.findall(word)
        if len(runs) > 1:
            parts = [run for run in runs if len(run) > 1]
            held = parts and all(self._index.holds(self.forms(part)) for part in parts)
            return " ".join(runs) if held else None
        found: dict[str, int] = {}
        for at in range(SHORTEST_PART, len(word) - SHORTEST_PART + 1):
            parts = [word[:at], word[at:]]
            forms = [self._stems(part, self._book.languages()) for part in parts]
            if all(map(self._index.holds, forms)):
                found[" ".join(parts)] = self._index.together(forms)
        best = max(found, key=lambda pair: found[pair], default=None)
        return best if best is not None and found[best] else None

    def _stems(self, word: str, languages: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(self._book.stems.of(word, language) for language in languages))


def _begun(index: ItemIndex, known: Sequence[str], typed: str) -> list[str]:
    """Words that the last one begins, unless a blank says that it is whole.

    A single character of a script without blanks begins words wherever it stands.
    """
    begins = [word for word in known if is_one_letter_unspaced(word)]
    if known and not typed[-1:].isspace() and len(known[-1]) >= SHORTEST_BEGUN:
        begins.append(known[-1])
    return [word for one in begins for word in index.begun(one, MOST_BEGUN) if word != one]
