"""What search knows of the items beside the index: names, prices, categories, and counted terms.

It reads texts into words and stems once, when an item comes. It knows no Kafka and no threads.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from adapters.tantivy_index import IndexedItem, Stems
from core.catalogue import CATEGORY_SEPARATOR, Catalogue
from core.query_text import folded, plain_text, words
from core.row_masks import FilterMasks
from core.search_columns import NO_TERMS, TermCounts, Terms
from core.word_pieces import codes, joins, pieces
from schemas.items import Item

MOST_BODY = 4_000
MOST_LANGUAGES, ALL_LANGUAGES = 3, 30


@dataclass(frozen=True)
class ReadItem:
    """An item with its texts divided into words."""

    item: Item
    title: str
    title_words: list[str]
    category_words: list[str]
    body_words: list[str]
    close_words: list[str]


def read_item(item: Item) -> ReadItem:
    """The item's texts as search reads them; of a description the first 4,000 characters."""
    title = plain_text(item.title)
    category = item.category.replace(CATEGORY_SEPARATOR, " ")
    body = plain_text(item.description[:MOST_BODY])
    close = [*codes(title), *(one + other for one, other in joins(pieces(title)))]
    return ReadItem(item, title, words(title), words(category), words(body), close)


class SearchBook:
    """One row per item, in the order items were first heard of; one thread at a time."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.masks = FilterMasks()
        self.stems = Stems()
        self.counts = TermCounts()
        self.terms: list[tuple[Terms[int], Terms[int]]] = []
        self._numbers: dict[str, int] = {}
        self._languages: Counter[str] = Counter()
        self._language_of: list[str] = []
        self._of_title: dict[str, int | set[int]] = {}  # most titles are one item's
        self._of_id: dict[str, int] = {}

    def languages(self, most: int = MOST_LANGUAGES) -> list[str]:
        """The languages of the most items."""
        found = [name for name, items in self._languages.most_common(most) if items > 0]
        return found or ["en"]

    def put(self, read: ReadItem) -> IndexedItem:
        """Takes in an item, in place of what was known of it; what the index is to hold."""
        item, catalogue, stem = read.item, self.catalogue, self.stems.of
        row, language = catalogue.row(item.item_id), item.language
        self._name(row, read)
        catalogue.put(
            row, read.title, item.price, item.available, category=item.category, stock=item.stock
        )
        title = [stem(word, language) for word in read.title_words]
        body = [stem(word, language) for word in read.body_words]
        self._count(row, self.numbered(title, grow=True), self.numbered(body, grow=True))
        return IndexedItem(
            row=row,
            title=title,
            category=[stem(word, language) for word in read.category_words],
            body=body,
            close=[stem(word, language) for word in read.close_words],
            words=[
                form
                for word in (*read.title_words, *read.category_words)
                for form in dict.fromkeys((word, folded(word)))
            ],
            available=item.available,
            listed=bool(catalogue.listed[row]),
            price=item.price,
            categories=ancestors(item.category),
        )

    def exact(self, text: str) -> list[int]:
        """Rows whose id or whole title is the text, whatever its case; the id first.

        A title may have other accents and blanks.
        """
        by_id = self._of_id.get(text.strip().casefold())
        titled = self._of_title.get(_key(plain_text(text)), set())
        rows = [titled] if isinstance(titled, int) else sorted(titled)
        return rows if by_id is None else [by_id, *(row for row in rows if row != by_id)]

    def heard(self, forms: Sequence[str]) -> str:
        """The first of some forms of a word that an item has, else the first."""
        return next((form for form in forms if form in self._numbers), forms[0])

    def numbered(self, stems: Sequence[str], *, grow: bool = False) -> Terms[int]:
        """The numbers of stems; one that no item has is negative, each its own, unless new ones
        may be given."""
        numbers = self._numbers
        if grow:
            found = [numbers.setdefault(stem, len(numbers)) for stem in stems]
            return array("i", found) if found else NO_TERMS
        unknown: dict[str, int] = {}
        return array(
            "i",
            [
                numbers[stem] if stem in numbers else unknown.setdefault(stem, -1 - len(unknown))
                for stem in stems
            ],
        )

    def _name(self, row: int, read: ReadItem) -> None:
        """The exact names and the language, in place of the former ones."""
        language = read.item.language
        if row == len(self._language_of):
            self._language_of.append(language)
        else:
            self._languages[self._language_of[row]] -= 1
            self._language_of[row] = language
            self._forget_title(row, _key(self.catalogue.titles[row]))
        self._languages[language] += 1
        self._of_id[read.item.item_id.casefold()] = row
        if read.title:
            known = self._of_title.setdefault(_key(read.title), row)
            if isinstance(known, set):
                known.add(row)
            elif known != row:
                self._of_title[_key(read.title)] = {known, row}

    def _forget_title(self, row: int, key: str) -> None:
        known = self._of_title.get(key)
        if isinstance(known, set):
            known.discard(row)
        elif known == row:
            del self._of_title[key]

    def _count(self, row: int, title: Terms[int], body: Terms[int]) -> None:
        while row >= len(self.terms):
            self.terms.append((NO_TERMS, NO_TERMS))
            self.counts.add(NO_TERMS, NO_TERMS)
        self.counts.remove(*self.terms[row])
        self.terms[row] = (title, body)
        self.counts.add(title, body)


def _key(title: str) -> str:
    return folded(title).casefold()


def ancestors(category: str) -> list[str]:
    """A category and those above it.

    >>> ancestors("Home/Kitchen")
    ['Home', 'Home/Kitchen']
    """
    parts = category.split(CATEGORY_SEPARATOR) if category else []
    return [CATEGORY_SEPARATOR.join(parts[: at + 1]) for at in range(len(parts))]
