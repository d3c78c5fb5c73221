"""A query's words against those of the shop's items: stems, parts, near ones.

It changes a word only where no item has it, and where what is put in its place is likely.
"""

from __future__ import annotations

from collections.abc import Sequence

from adapters.tantivy_index import ItemIndex
from core.typos import SLIP, TWO_EDITS_FROM, UNSURE
from core.word_pieces import LONGEST_JOINED
from serving.search_book import ALL_LANGUAGES, SearchBook

SHORTEST_PART = 3
MOST_TRIED = 6
MOST_GUESSES = 4
MOST_BESIDE = 4
Forms = list[str]


class ShopWords:
    """One query's look-ups, each made once; whoever asks holds the items' lock."""

    def __init__(self, book: SearchBook, index: ItemIndex) -> None:
        self._book = book
        self._index = index
        self._known: dict[str, Forms] = {}
        self._tried = 0

    def forms(self, word: str) -> Forms:
        """The stems of a word: in the main languages, or in any where those have none."""
        known = self._known.get(word)
        if known is None:
            known = self._stems(word, self._book.languages())
            if not self._index.holds(known):
                known = self._stems(word, self._book.languages(ALL_LANGUAGES))
            self._known[word] = known
        return known

    def all_forms(self, several: Sequence[str]) -> Forms:
        """The stems of several words, each once."""
        return list(dict.fromkeys(form for word in several for form in self.forms(word)))

    def held(self, word: str) -> bool:
        """Whether an item has this word."""
        return self._index.holds(self.forms(word))

    def held_close(self, word: str) -> bool:
        """Whether a title has it as a code, or as two neighbouring words."""
        return self._index.holds_close(self.forms(word))

    def is_one(self, one: str, other: str) -> bool:
        """Whether two neighbouring pieces are also one word of this shop, which means the same.

        It does where titles have it both ways, or where more items have the word than both parts.
        """
        word = one + other
        if not self.held(word):
            return False
        return self.held_close(word) or self._items(word) > self._items(one, other)

    def never_apart(self, one: str, other: str) -> bool:
        """Whether items have two neighbouring pieces as one word only."""
        word = one + other
        return self.held(word) and not self.held_close(word) and not self._items(one, other)

    def parts(self, word: str) -> str | None:
        """The word in two, as titles have it; None where none has."""
        if len(word) > LONGEST_JOINED or not self.held_close(word):
            return None
        return self._best_cut(word, 1)

    def guesses(self, word: str) -> list[tuple[int, str]]:
        """What may have been meant by a word that no item has, with the kind of mistake."""
        self._tried += 1
        if self._tried > MOST_TRIED or len(word) > LONGEST_JOINED:
            return []
        near = self._index.near(word)[:MOST_GUESSES]
        divided = self.parts(word)
        if divided is None and not any(one.isdigit() for one in word):
            divided = self._best_cut(word, SHORTEST_PART)
        if divided is None:
            return near
        more = near and near[0][0] == SLIP and self._items(near[0][1]) > self._items(divided)
        return [*near, (SLIP, divided)] if more else [(SLIP, divided), *near]

    def meant(self, word: str, guesses: Sequence[tuple[int, str]], beside: Sequence[str]) -> str:
        """The guess to believe, the word itself where none is; `beside` are the query's others.

        Among others a guess is believed that goes with one of them, and else a slip, or a long
        word: a query of which much is unknown may be in another language.
        """
        known = [other for other in beside if self.held(other)][:MOST_BESIDE]
        for _, guess in guesses:
            if any(self._items(guess, other) for other in known):
                return guess
        kind, guess = guesses[0] if guesses else (UNSURE, word)
        likely = kind < UNSURE and (not beside or len(word) >= TWO_EDITS_FROM)
        return guess if kind == SLIP or likely else word

    def _best_cut(self, word: str, shortest: int) -> str | None:
        """The word in two parts of so many letters that most items have, None where none has."""
        cuts = [(word[:at], word[at:]) for at in range(shortest, len(word) - shortest + 1)]
        held = [f"{a} {b}" for a, b in cuts if self._held_anyhow(a) and self._held_anyhow(b)]
        items = {cut: self._items(cut) for cut in held}
        best = max(items, key=lambda cut: items[cut], default=None)
        return best if best is not None and items[best] else None

    def _held_anyhow(self, part: str) -> bool:
        return self.held(part) or self.held_close(part)

    def _items(self, *texts: str) -> int:
        """How many items have all the words of these texts."""
        parts = [part for text in texts for part in text.split()]
        return self._index.together([self.forms(part) for part in parts])

    def _stems(self, word: str, languages: Sequence[str]) -> Forms:
        return list(dict.fromkeys(self._book.stems.of(word, language) for language in languages))
