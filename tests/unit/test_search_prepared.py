"""A new search version takes over once it is prepared; until then the former one answers."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from served_search_factory import ITEMS, Clock, ask, embedded, items_in, loaded_search
from served_text_factory import TextVersionMade, made_search

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url
from adapters.signing import load_or_create
from core.settings import Settings
from schemas.items import Item
from schemas.models import ModelLog, ModelPointer
from serving.item_vectors import ItemVectors
from serving.searching import SearchDesk
from serving.text_versions import TextVersions


class Shop:
    """Items, versions by pointer, and what was said of them."""

    def __init__(self, home: Path) -> None:
        self.settings = Settings(home=str(home), search_prepared_ms=60_000)
        self.said: list[ModelLog] = []
        self.clock = Clock()
        self.items = items_in(home / "vectors")
        self.versions = TextVersions(
            self.settings, "serving-1", self.said.append, self.items.covers, self.clock
        )
        self._key = load_or_create(home)
        self._store = ArtefactStore(artefacts_url(self.settings))
        self._sequence = 0

    def put(self, seed: int) -> str:
        made: TextVersionMade = made_search()
        made.key, made.changes = self._key, {"seed": seed}
        return made.put(self._store)

    def point(self, name: str | None) -> None:
        self._sequence += 1
        pointer = ModelPointer(
            task="search", sequence=self._sequence, event_time_ms=1, champion=name,
            announced_wall_ms=1,
        )  # fmt: skip
        self.versions.want(pointer, live=True)
        self.obey()

    def obey(self) -> None:
        self.versions.obey(threading.Event())

    def embed(self) -> None:
        embedded(self.items, *self.held())

    def held(self) -> list[Any]:
        return self.versions.held

    def in_use(self) -> str:
        answer = ask(SearchDesk(self.settings, self.items, self.versions), "red cup")
        assert answer.degraded is None
        assert any("dense" in slot.source for slot in answer.slots)
        return answer.model_version


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path)
    shop.point(shop.put(1))  # at once: there is no former one
    assert [entry.kind for entry in shop.said] == ["swapped"]
    shop.embed()
    return shop


def test_a_new_version_takes_over_once_it_has_the_vectors_of_the_former_one(shop: Shop) -> None:
    former, new = shop.said[0].model_version, shop.put(2)
    alone = shop.versions.size_bytes, shop.items.vectors_bytes
    shop.point(new)
    assert (shop.in_use(), len(shop.said), shop.versions.settled) == (former, 1, True)
    shop.items.begin(shop.held())
    shop.obey()
    assert (shop.in_use(), shop.items.share(new)) == (former, 0.0)
    assert (shop.versions.size_bytes, shop.items.vectors_bytes) == (2 * alone[0], 2 * alone[1])
    shop.embed()
    shop.items.put([Item(item_id="later", updated_at_ms=2, title="A later cup")])
    shop.obey()  # the item that neither has a vector of holds nothing up
    shop.embed()
    assert shop.in_use() == new
    assert [(entry.kind, entry.model_version) for entry in shop.said][1:] == [("swapped", new)]
    assert shop.said[1].announce_to_swap_ms is not None
    assert (shop.versions.preparing, set(shop.items.vectors)) == ({}, {new})


def test_a_vector_that_only_the_former_one_has_holds_the_swap_up_until_the_time_is_over(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    former, new = shop.said[0].model_version, shop.put(2)
    shop.point(new)
    shop.embed()
    shop.items.put([Item(item_id="later", updated_at_ms=2, title="A later cup")])
    shop.items.vectors[former].embed()
    shop.obey()
    assert shop.versions.loaded["search"].version == former
    shop.clock.now_s = 59.0
    shop.obey()
    assert shop.versions.loaded["search"].version == former
    shop.clock.now_s = 60.0
    shop.obey()
    assert shop.versions.loaded["search"].version == new
    assert "without all vectors" in caplog.text


def test_a_pointer_back_or_on_or_to_nothing_ends_the_preparation(shop: Shop) -> None:
    former, new, newest = shop.said[0].model_version, shop.put(2), shop.put(3)
    shop.point(new)
    shop.clock.now_s = 30.0
    shop.point(new)  # wanted again: its time goes on
    assert shop.versions.preparing["search"].since_s == 0.0
    shop.point("search-unheard-of")  # refused: what was wanted before goes on
    assert shop.said.pop().kind == "refused"
    assert shop.versions.preparing["search"].version.version == new
    shop.point(newest)
    assert shop.versions.preparing["search"].version.version == newest
    shop.point(former)
    shop.clock.now_s = 600.0
    shop.obey()
    assert (shop.versions.preparing, shop.in_use(), len(shop.said)) == ({}, former, 1)
    shop.point(new)
    shop.point(None)
    assert (shop.held(), len(shop.said)) == ([], 1)


def test_a_title_that_changes_while_vectors_are_begun_is_the_one_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, changed = items_in(tmp_path / "vectors"), replace(ITEMS[1], title="Another title")
    whole = ItemVectors.want

    def want(vectors: ItemVectors, row: int, title: str, **how: bool) -> None:
        whole(vectors, row, title, **how)
        if row == 0:
            items.put([changed])

    monkeypatch.setattr(ItemVectors, "want", want)
    version = loaded_search(ArtefactStore(tmp_path.as_uri()))
    items.begin([version])
    assert items.vectors[version.version]._waiting[1] == "Another title"


def test_items_taken_in_while_vectors_are_made_are_covered_in_the_end(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.point(shop.put(1))
    stopping = threading.Event()
    embedding = threading.Thread(target=shop.items.embed, args=(shop.held, stopping))
    embedding.start()
    try:
        new = shop.put(2)
        shop.point(new)
        for number in range(200):
            item = ITEMS[number % len(ITEMS)]
            shop.items.put([Item(item_id=item.item_id, updated_at_ms=2, title=f"cup {number}")])
            shop.obey()
        waited = threading.Event()
        for _ in range(6_000):
            shop.obey()
            if shop.versions.loaded["search"].version == new:
                break
            waited.wait(0.01)
    finally:
        stopping.set()
        embedding.join()
    assert [entry.model_version for entry in shop.said][1:] == [new]
