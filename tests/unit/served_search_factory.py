"""A shop's items, and desks that answer searches over them, in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from served_text_factory import COLOURS, THINGS, made_search

from adapters.artefacts import ArtefactStore
from adapters.text_version import SearchVersion, load_text_version
from core.settings import Settings
from schemas.items import Item
from schemas.predictions import Prediction, SearchRequest
from serving.answer import Moment
from serving.graph_breakers import GraphBreakers
from serving.rules_file import RulesFile
from serving.search_items import SearchItems
from serving.searching import SearchDesk
from serving.text_versions import TextVersions

ITEMS = [
    *(
        Item(
            item_id=f"{colour}-{thing}", updated_at_ms=1, title=f"{colour.title()} {thing}",
            description=f"A {thing} for your home", category=f"Home/{thing.title()}s",
            price=float(price),
        )
        for price, (colour, thing) in enumerate((c, t) for c in COLOURS for t in THINGS)
    ),
    Item(item_id="gone", updated_at_ms=1, title="Red cup, gone", available=False),
    Item(item_id="sold", updated_at_ms=1, title="Red cup, sold out", stock=0),
    Item(item_id="hanging", updated_at_ms=1, title="White Hanging Heart T-Light Holders",
         description="Lanterns &amp; <b>candles</b>"),
    Item(item_id="zh", updated_at_ms=1, title="红色陶瓷杯子", language="zh"),
]  # fmt: skip


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def loaded_search(store: ArtefactStore, **changes: Any) -> SearchVersion:
    """A verified search version with random weights."""
    made = made_search()
    made.changes |= changes
    loaded = load_text_version(store, "search", made.put(store), made.key.public_key())
    assert isinstance(loaded, SearchVersion)
    return loaded


def embedded(items: SearchItems, *versions: SearchVersion) -> SearchItems:
    """The items with all vectors made."""
    items.begin(versions)
    while sum(each.embed() for each in items.vectors.values()):
        pass
    return items


def items_in(folder: Path, process: str = "serving-1") -> SearchItems:
    """The items, found by words."""
    items = SearchItems(Settings(), process, folder)
    items.put(ITEMS)
    items.index.commit()
    return items


def desk_over(
    items: SearchItems,
    version: SearchVersion | None,
    clock: Clock | None = None,
    rules: RulesFile | None = None,
    breakers: GraphBreakers | None = None,
    **fields: Any,
) -> SearchDesk:
    """A desk with a version, or without one."""
    versions = TextVersions(Settings(home="/nowhere"), "serving-1", lambda _: None)
    if version is not None:
        versions.loaded = {"search": version}
    return SearchDesk(Settings(**fields), items, versions, clock or Clock(), rules, breakers)


def ask(desk: SearchDesk, query: str, arrived_s: float = 0.0, **fields: Any) -> Prediction:
    """The answer to one search."""
    request = SearchRequest(request_id="r1", visitor_id="v", query=query, **fields)
    (found,) = desk.answer([request], Moment(1_000, arrived_s, "serving-1"))
    return found


def ids(answer: Prediction) -> list[str]:
    """What it lists."""
    return [slot.item_id for slot in answer.slots]
