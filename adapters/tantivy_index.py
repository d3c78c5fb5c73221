"""BM25 over items by tantivy, in memory: what is put is found after the next `commit`.

Words come divided and stemmed, and queries are built from terms, so that no text is ever parsed as
a query. It knows rows and terms, no items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import tantivy
from tantivy import Occur, Query

from core.query_text import folded
from core.typos import mistake, most_edits

HEAP_BYTES = 32_000_000
FIELDS = {"title": 2.0, "category": 1.0, "body": 0.5}
"""What is searched, and how much a hit there counts."""
CLOSE = "close"
"""Single letters, numbers with signs, and two neighbouring words of a title as one."""
TIE = 0.3
PREFIX_WEIGHT = 0.5
CODE_WEIGHT = 1.5  # of a hit in `CLOSE` for a word or a code
CLOSE_WEIGHT = 1.0  # of one for two neighbours
ONE_WEIGHT = 2.0  # of one word that stands for two
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
        if word.isascii() and word.isdigit():
            return word  # there may be millions
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
    close: Sequence[str] = ()
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
    """Stems by word of the query (several where languages differ), and stems a prefix leads to.

    `ones` are stems of two words that are one as well; `close` are further stems of two neighbours,
    looked for where titles have them so.
    """

    stems: Sequence[Sequence[str]] = ()
    begun: Sequence[str] = ()
    ones: Sequence[Sequence[str]] = ()
    close: Sequence[Sequence[str]] = ()


class ItemIndex:
    """One writer thread puts and commits; any thread searches what the last commit saw."""

    def __init__(self) -> None:
        builder = tantivy.SchemaBuilder()
        builder.add_integer_field("row", indexed=True, fast=True)
        for name in (*FIELDS, CLOSE, "below"):
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
                close=" ".join(item.close),
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

    def hits(
        self, query: WordQuery, narrowings: Sequence[Narrowing], n: int
    ) -> list[tuple[int, float]]:
        """The n best rows that all narrowings let pass, with their BM25, best first.

        Equals come in the order they were put.
        """
        clauses = [self._word(stems) for stems in query.stems]
        clauses += [Query.boost_query(self._word([stem]), PREFIX_WEIGHT) for stem in query.begun]
        clauses += [Query.boost_query(self._word(stems), ONE_WEIGHT) for stems in query.ones]
        clauses += [self._in(CLOSE, stem, CLOSE_WEIGHT) for stems in query.close for stem in stems]
        if not clauses or n < 1:
            return []
        spoken = Query.boolean_query([(Occur.Should, one) for one in clauses])
        searcher = self._searcher
        parts = [(Occur.Must, spoken)]
        for narrowing in narrowings:
            parts += self._narrowed(narrowing)
        asked = Query.boolean_query(parts)
        found = searcher.search(asked, n, count=False).hits
        rows = searcher.fast_field_values("row", [address for _, address in found])
        return [(int(row or 0), float(score)) for row, (score, _) in zip(rows, found, strict=True)]

    def holds(self, stems: Iterable[str]) -> bool:
        """Whether any item has any of these stems."""
        searcher = self._searcher
        return any(searcher.doc_freq(name, stem) for stem in stems for name in FIELDS)

    def holds_close(self, stems: Iterable[str]) -> bool:
        """Whether a title has any of these as a code or as two neighbouring words."""
        return any(self._searcher.doc_freq(CLOSE, stem) for stem in stems)

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

    def near(self, word: str) -> list[tuple[int, str]]:
        """Words of titles and categories that may have been meant, likeliest first.

        Each with the kind of mistake (`core/typos.py`); of one kind the more frequent comes first.
        Accents do not count.
        """
        word = folded(word)
        for distance in range(1, most_edits(word) + 1):
            kinds = {one: mistake(word, folded(one)) for one in self._about(word, distance)}
            near = [
                (kind, -self._searcher.doc_freq("words", one), one.isascii(), one)
                for one, kind in kinds.items()
                if kind is not None
            ]
            if near:
                return [(kind, one) for kind, _, _, one in sorted(near)]
        return []

    def _about(self, word: str, distance: int) -> set[str]:
        """All words of some items of which one has a word so near."""
        searcher = self._searcher
        query = Query.fuzzy_term_query(self._schema, "words", word, distance)
        hits = searcher.search(query, LOOKED_AT, count=False).hits
        texts = [str(searcher.doc(address).get_first("words")) for _, address in hits]
        return {one for text in texts for one in text.split()}

    def _word(self, stems: Sequence[str]) -> Query:
        """One word: the best of its fields, and a little of the others."""
        parts = [
            self._in(name, stem, weight)
            for stem in stems
            for name, weight in (*FIELDS.items(), (CLOSE, CODE_WEIGHT))
        ]
        return Query.disjunction_max_query(parts, TIE)

    def _in(self, name: str, stem: str, weight: float) -> Query:
        return Query.boost_query(Query.term_query(self._schema, name, stem, "freq"), weight)

    def _narrowed(self, narrowing: Narrowing) -> list[tuple[Occur, Query]]:
        flag = "listed" if narrowing.listed_only else "available"
        free = [Query.term_query(self._schema, flag, True)]
        if narrowing.categories:
            free.append(self._below(narrowing.categories))
        if narrowing.price_from is not None or narrowing.price_to is not None:
            low, high = narrowing.price_from, narrowing.price_to
            kind = tantivy.FieldType.Float
            free.append(Query.range_query(self._schema, "price", kind, low, high))
        parts = [(Occur.Must, Query.const_score_query(one, 0.0)) for one in free]
        if narrowing.excluded:
            parts.append((Occur.MustNot, self._below(narrowing.excluded)))
        return parts

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
