"""BM25 over items by tantivy, in memory: what is put is found after the next `commit`.

Words come divided and stemmed, and queries are built from terms, so that no text is ever parsed as
a query. It knows rows and terms, no items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import tantivy
from tantivy import Occur, Query

from core.query_text import edits, folded

HEAP_BYTES = 32_000_000
FIELDS = {"title": 2.0, "category": 1.0, "body": 0.5}
"""What is searched, and how much a hit there counts."""
TIE = 0.3
PREFIX_WEIGHT = 0.5
LONGEST_CORRECTED = 30
SHORTEST_CORRECTED = 4
TWO_EDITS_FROM = 8
LOOKED_AT = 40
_LANGUAGES = {
    "ar": "arabic", "da": "danish", "de": "german", "el": "greek", "en": "english",
    "es": "spanish", "fi": "finnish", "fr": "french", "hu": "hungarian", "it": "italian",
    "nl": "dutch", "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sv": "swedish", "ta": "tamil", "tr": "turkish",
}  # fmt: skip
_MOST_STEMS = 500_000


class Stems:
    """The stem of a word in a language, in plain letters; not every language has a stemmer.

    English has no rules for accents and finds more words alike without; others need them.

    >>> stems = Stems()
    >>> stems.of("holders", "en"), stems.of("holders", "zh")
    ('holder', 'holders')
    """

    def __init__(self) -> None:
        self._analyzers: dict[str, tantivy.TextAnalyzer] = {}
        self._known: dict[tuple[str, str], str] = {}

    def of(self, word: str, language: str) -> str:
        """The stem."""
        known = self._known.get((language, word))
        if known is not None:
            return known
        name = _LANGUAGES.get(language[:2].lower())
        if name is None:
            stem = folded(word)
        elif name == "english":
            stem = self._analysed(folded(word), name)
        else:
            stem = folded(self._analysed(word, name))
        if len(self._known) >= _MOST_STEMS:
            self._known.clear()
        self._known[(language, word)] = stem
        return stem

    def _analysed(self, word: str, name: str) -> str:
        analyzer = self._analyzers.get(name)
        if analyzer is None:
            builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.raw())
            analyzer = builder.filter(tantivy.Filter.stemmer(name)).build()
            self._analyzers[name] = analyzer
        found = analyzer.analyze(word)
        return found[0] if found else word


@dataclass(frozen=True)
class IndexedItem:
    """What of an item is searched: stems by field, and the words of title and category."""

    row: int
    title: Sequence[str] = ()
    category: Sequence[str] = ()
    body: Sequence[str] = ()
    words: Sequence[str] = ()
    available: bool = True
    listed: bool = True
    price: float | None = None
    categories: Sequence[str] = ()


@dataclass(frozen=True)
class Narrowing:
    """Which of the available items may be found.

    `categories` and `excluded` name an item's category or one above it.
    """

    listed_only: bool = True
    categories: Sequence[str] = ()
    excluded: Sequence[str] = ()
    price_from: float | None = None
    price_to: float | None = None


@dataclass(frozen=True)
class WordQuery:
    """Stems by word of the query (several where languages differ), and stems a prefix leads to."""

    stems: Sequence[Sequence[str]] = ()
    begun: Sequence[str] = field(default=())


class ItemIndex:
    """One writer thread puts and commits; any thread searches what the last commit saw."""

    def __init__(self) -> None:
        builder = tantivy.SchemaBuilder()
        builder.add_integer_field("row", indexed=True, fast=True)
        for name in (*FIELDS, "below"):
            builder.add_text_field(name, tokenizer_name="whitespace", index_option="freq")
        builder.add_text_field("words", stored=True, tokenizer_name="whitespace")
        builder.add_boolean_field("available", indexed=True)
        builder.add_boolean_field("listed", indexed=True)
        builder.add_float_field("price", indexed=True, fast=True)
        self._schema = builder.build()
        self._index = tantivy.Index(self._schema)
        self._index.config_reader("manual")
        self._writer = self._index.writer(HEAP_BYTES, 1)
        self._searcher = self._index.searcher()
        self._put: set[int] = set()
        self.pending = 0

    def put(self, items: Iterable[IndexedItem]) -> None:
        """Adds items, in place of what stood under their rows."""
        for item in items:
            self.remove(item.row)
            document = tantivy.Document(
                row=item.row,
                title=" ".join(item.title),
                category=" ".join(item.category),
                body=" ".join(item.body),
                words=" ".join(dict.fromkeys(item.words)),
                below=" ".join(map(_token, item.categories)),
                available=item.available,
                listed=item.listed,
            )
            if item.price is not None:
                document.add_float("price", item.price)
            self._writer.add_document(document)
            self._put.add(item.row)
            self.pending += 1

    def remove(self, row: int) -> None:
        """Takes a row out."""
        if row in self._put:
            self._writer.delete_documents_by_term("row", row)
            self._put.discard(row)
            self.pending += 1

    def commit(self) -> None:
        """Lets searches see what was put."""
        self._writer.commit()
        self._index.reload()
        self._searcher = self._index.searcher()
        self.pending = 0

    def __len__(self) -> int:
        """Items that searches see."""
        return int(self._searcher.num_docs)

    def hits(self, query: WordQuery, narrowing: Narrowing, n: int) -> list[tuple[int, float]]:
        """The n best rows with their BM25, best first; equals in the order they were put."""
        clauses = [self._word(stems) for stems in query.stems]
        clauses += [Query.boost_query(self._word([stem]), PREFIX_WEIGHT) for stem in query.begun]
        if not clauses or n < 1:
            return []
        spoken = Query.boolean_query([(Occur.Should, one) for one in clauses])
        searcher = self._searcher
        asked = self._narrowed(spoken, narrowing)
        found = searcher.search(asked, n, count=False).hits
        rows = searcher.fast_field_values("row", [address for _, address in found])
        return [(int(row or 0), float(score)) for row, (score, _) in zip(rows, found, strict=True)]

    def holds(self, stems: Iterable[str]) -> bool:
        """Whether any item has any of these stems."""
        searcher = self._searcher
        return any(searcher.doc_freq(name, stem) for stem in stems for name in FIELDS)

    def begun(self, prefix: str, most: int) -> list[str]:
        """The most frequent words of titles and categories that begin so."""
        found = self._searcher.terms_with_prefix("words", prefix, limit=most * 8)
        ranked = sorted(found, key=lambda one: (-one[1], one[0]))
        return [term for term, _ in ranked[:most]]

    def together(self, groups: Sequence[Sequence[str]]) -> int:
        """How many items have a stem of each of these groups."""
        asked = Query.boolean_query([(Occur.Must, self._word(stems)) for stems in groups])
        found: Any = self._searcher.search(asked, 1)
        return int(found.count)

    def near(self, word: str) -> str | None:
        """The word of a title or category that was probably meant, None where none is near.

        One edit for words of four characters and more, two from eight on; numbers have none.
        Accents do not count.
        """
        word = folded(word)
        if not SHORTEST_CORRECTED <= len(word) <= LONGEST_CORRECTED:
            return None
        if any(one.isdigit() for one in word):
            return None
        searcher = self._searcher
        for distance in (1, 2) if len(word) >= TWO_EDITS_FROM else (1,):
            query = Query.fuzzy_term_query(self._schema, "words", word, distance)
            found = searcher.search(query, LOOKED_AT, count=False).hits
            near = {
                one: searcher.doc_freq("words", one)
                for _, address in found
                for one in str(searcher.doc(address).get_first("words")).split()
                if edits(word, folded(one), distance) <= distance
            }
            if near:
                return min(near, key=lambda one: (-near[one], one.isascii(), one))
        return None

    def _word(self, stems: Sequence[str]) -> Query:
        """One word: the best of its fields, and a little of the others."""
        parts = [
            Query.boost_query(Query.term_query(self._schema, name, stem, "freq"), weight)
            for stem in stems
            for name, weight in FIELDS.items()
        ]
        return Query.disjunction_max_query(parts, TIE)

    def _narrowed(self, spoken: Query, narrowing: Narrowing) -> Query:
        flag = "listed" if narrowing.listed_only else "available"
        free = [Query.term_query(self._schema, flag, True)]
        if narrowing.categories:
            free.append(self._below(narrowing.categories))
        if narrowing.price_from is not None or narrowing.price_to is not None:
            low, high = narrowing.price_from, narrowing.price_to
            kind = tantivy.FieldType.Float
            free.append(Query.range_query(self._schema, "price", kind, low, high))
        parts = [(Occur.Must, spoken)]
        parts += [(Occur.Must, Query.const_score_query(one, 0.0)) for one in free]
        if narrowing.excluded:
            parts.append((Occur.MustNot, self._below(narrowing.excluded)))
        return Query.boolean_query(parts)

    def _below(self, categories: Sequence[str]) -> Query:
        return Query.boolean_query(
            [
                (Occur.Should, Query.term_query(self._schema, "below", _token(one), "freq"))
                for one in categories
            ]
        )


def _token(category: str) -> str:
    """A category path as one term of a field that is divided at blanks."""
    return "\x1f".join(category.split()) if category.strip() else "\x1f"
