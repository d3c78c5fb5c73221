"""The trained search as serving answers it, over the whole catalogue, beside tantivy as it comes.

Every judged product is an item; what nobody judged for a query counts as irrelevant, for all alike.
The test queries are asked as people typed them, and with one mistake each: a blank left out, a
blank put into a word, or a letter left out or swapped. Nothing was chosen on them: the weights of
the index were chosen on the other queries, by words alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tantivy

from adapters.text_version import SEARCH, SearchVersion
from bench.serving_search import loaded, put
from core.intervals import cluster_bootstrap
from core.search_metrics import gains
from core.settings import Settings
from schemas.items import Item
from schemas.predictions import SearchRequest
from serving.answer import Moment
from serving.search_items import SearchItems
from serving.searching import SearchDesk
from serving.text_versions import TextVersions
from trainer.search.export import in_int8, version_files
from trainer.search.judged import Judged
from trainer.search.model import load_search

SEED = 7
LONGEST_LIST, JUDGED_AT, HIGHEST = 100, 10, 3.0
NO_HURRY_MS = 60_000
FIRST, LAST = 4, 6  # letters of a word that is mistyped, and of one that is divided
Ask = Callable[[str], list[str]]
Change = Callable[[str, np.random.Generator], str]


@dataclass(frozen=True)
class Shop:
    """The catalogue, and of each query the grade of every item that was judged for it."""

    items: list[Item]
    queries: list[str]
    grades: list[dict[str, float]]


def shop_of(rows: Judged, asked: Sequence[int]) -> Shop:
    """All judged products, each once, and some of the queries."""
    names: dict[tuple[str, str], str] = {}
    grades: dict[int, dict[str, float]] = {query: {} for query in asked}
    for row, product in enumerate(zip(rows.titles, rows.bodies, strict=True)):
        name = names.setdefault(product, f"p{row}")
        of_query = grades.get(int(rows.query_of[row]))
        if of_query is not None:
            of_query[name] = max(of_query.get(name, 0.0), float(rows.grades[row]))
    items = [
        Item(item_id=name, updated_at_ms=1, title=title, description=body)
        for (title, body), name in names.items()
    ]
    return Shop(items, [rows.queries[query] for query in asked], list(grades.values()))


def as_served(folder: Path, shop: Shop) -> dict[str, Any]:
    """NDCG@10, recall@100 and the share without any result, by way and by mistake."""
    with tempfile.TemporaryDirectory() as scratch:
        ways = _ways(folder, shop, Path(scratch))
        table: dict[str, dict[str, dict[str, float]]] = {name: {} for name in MISTAKES}
        by_query: dict[str, list[float]] = {}
        for mistake, change in MISTAKES.items():
            random = np.random.default_rng(SEED)
            queries = [change(query, random) for query in shop.queries]
            for way, ask in ways.items():
                lists = [ask(query) for query in queries]
                figures = [_ndcg(one, known) for one, known in zip(lists, shop.grades, strict=True)]
                by_query.setdefault(way, figures)
                table[mistake][way] = _told(lists, shop.grades, figures)
                print(f"{mistake:14s} {way:16s} {table[mistake][way]}", flush=True)
    gain = np.array(by_query["with_cross"]) - np.array(by_query["tantivy"])
    names = [str(place) for place in range(len(gain))]
    interval = cluster_bootstrap(gain, names, np.random.default_rng(SEED))
    return {"items": len(shop.items), **table, "with_cross_over_tantivy": interval}


def _ways(folder: Path, shop: Shop, scratch: Path) -> dict[str, Ask]:
    settings = Settings(home=str(scratch))
    model = load_search(folder)
    files = version_files(model)
    version = loaded(settings, put(settings, SEARCH, "search", {**files, **in_int8(files)}))
    items = SearchItems(settings, "bench", scratch / "vectors")
    items.put(shop.items)
    items.index.commit()
    items.begin([version])
    while sum(each.embed() for each in items.vectors.values()):
        pass
    return {
        "tantivy": _peer(shop.items),
        "words": _served(items, None, 0),
        "dense": _by_vectors(items, version),
        "without_cross": _served(items, version, 0),
        "with_cross": _served(items, version, NO_HURRY_MS),
    }


def _served(items: SearchItems, version: SearchVersion | None, budget_ms: int) -> Ask:
    settings = Settings(search_budget_ms=budget_ms)
    versions = TextVersions(settings, "bench", lambda _: None)
    if version is not None:
        versions.loaded = {SEARCH: version}
    desk = SearchDesk(settings, items, versions, clock=lambda: 0.0)

    def ask(query: str) -> list[str]:
        request = SearchRequest(request_id="r", visitor_id="v", query=query, k=LONGEST_LIST)
        (found,) = desk.answer([request], Moment(1, 0.0, "bench"))
        return [slot.item_id for slot in found.slots]

    return ask


def _by_vectors(items: SearchItems, version: SearchVersion) -> Ask:
    def ask(query: str) -> list[str]:
        cosines = items.vectors[version.version].cosines(version.query_vectors([query])[0])
        best = np.argsort(-cosines, kind="stable")[:LONGEST_LIST]
        return [items.book.catalogue.item_ids[row] for row in best]

    return ask


def _peer(items: Sequence[Item]) -> Ask:
    """Tantivy's own English tokenizer, parser and BM25 over title and description."""
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("id", stored=True, tokenizer_name="raw")
    for name in ("title", "body"):
        schema.add_text_field(name, tokenizer_name="en_stem")
    index = tantivy.Index(schema.build())
    writer = index.writer(num_threads=1)
    for item in items:
        document = tantivy.Document(id=item.item_id, title=item.title, body=item.description)
        writer.add_document(document)
    writer.commit()
    index.reload()
    searcher = index.searcher()

    def ask(query: str) -> list[str]:
        parsed, _ = index.parse_query_lenient(query, ["title", "body"])
        hits = searcher.search(parsed, LONGEST_LIST).hits
        return [str(searcher.doc(address).get_first("id")) for _, address in hits]

    return ask


def _joined(query: str, random: np.random.Generator) -> str:
    said = query.split(" ")
    if len(said) < 2:
        return query
    at = int(random.integers(len(said) - 1))
    return " ".join([*said[:at], said[at] + said[at + 1], *said[at + 2 :]])


def _divided(query: str, random: np.random.Generator) -> str:
    return _in_a_word(query, LAST, random, lambda word, at: f"{word[:at]} {word[at:]}")


def _mistyped(query: str, random: np.random.Generator) -> str:
    swapped = bool(random.integers(2))

    def change(word: str, at: int) -> str:
        after = word[at + 1] + word[at] + word[at + 2 :] if swapped else word[at + 1 :]
        return word[:at] + after

    return _in_a_word(query, FIRST, random, change)


def _in_a_word(
    query: str, shortest: int, random: np.random.Generator, change: Callable[[str, int], str]
) -> str:
    """The query with one word of so many letters changed at a place inside it."""
    said = query.split(" ")
    places = [at for at, word in enumerate(said) if len(word) >= shortest and word.isalpha()]
    if places:
        at = places[int(random.integers(len(places)))]
        said[at] = change(said[at], int(random.integers(1, len(said[at]) - 1)))
    return " ".join(said)


MISTAKES: Mapping[str, Change] = {
    "as_typed": lambda query, _: query,
    "blank_left_out": _joined,
    "blank_put_in": _divided,
    "mistyped": _mistyped,
}


def _ndcg(found: Sequence[str], grades: Mapping[str, float], k: int = JUDGED_AT) -> float:
    """NDCG@k over the whole catalogue; NaN where nothing is relevant."""
    weights = 1.0 / np.log2(np.arange(2, 2 + k))
    best = np.sort(gains(list(grades.values())))[::-1][:k]
    mine = gains([grades.get(name, 0.0) for name in found[:k]])
    ideal = float(best @ weights[: len(best)])
    return float(mine @ weights[: len(mine)]) / ideal if ideal else float("nan")


def _told(
    lists: Sequence[Sequence[str]], grades: Sequence[Mapping[str, float]], figures: list[float]
) -> dict[str, float]:
    wanted = [{name for name, grade in one.items() if grade >= HIGHEST} for one in grades]
    shares = [len(one & set(got)) / len(one) for one, got in zip(wanted, lists, strict=True) if one]
    return {
        "ndcg10": round(float(np.nanmean(figures)), 4),
        "recall100": round(float(np.mean(shares)), 4),
        "without_result": round(sum(not one for one in lists) / len(lists), 4),
    }
