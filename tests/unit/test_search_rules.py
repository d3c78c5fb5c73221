"""The shop's rules in searches: what they rule out, lift, and pin, and what is logged of it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from served_search_factory import ITEMS, ask, desk_over, embedded, ids, items_in, loaded_search

from adapters.artefacts import ArtefactStore
from adapters.tantivy_index import ItemIndex
from adapters.text_version import SearchVersion
from core.search_blend import BlendWeights
from core.search_order import order
from core.settings import Settings
from schemas.items import Item
from schemas.predictions import Prediction
from serving.rules_file import RulesFile
from serving.search_items import SearchItems


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> SearchVersion:
    return loaded_search(ArtefactStore(tmp_path_factory.mktemp("artefacts").as_uri()))


@pytest.fixture(scope="module")
def items(version: SearchVersion, tmp_path_factory: pytest.TempPathFactory) -> SearchItems:
    return embedded(items_in(tmp_path_factory.mktemp("vectors")), version)


def rules_in(folder: Path, text: str) -> RulesFile:
    path = folder / "rules.toml"
    path.write_text(text)
    return RulesFile(Settings(rules=str(path)))


@pytest.fixture(params=["words", "version"])
def served(request: pytest.FixtureRequest, version: SearchVersion) -> SearchVersion | None:
    return version if request.param == "version" else None


def asked(
    items: SearchItems, served: SearchVersion | None, rules: RulesFile | None, query: str = "cup"
) -> Prediction:
    return ask(desk_over(items, served, rules=rules), query, k=30)


@pytest.mark.parametrize("surfaces", ["", "surfaces = ['search']\n"])
def test_what_is_blocked_or_not_required_is_neither_found_nor_read(
    items: SearchItems, served: SearchVersion | None, tmp_path: Path, surfaces: str
) -> None:
    rules = rules_in(
        tmp_path,
        f"[[block]]\n{surfaces}items = ['red-cup']\n"
        f"[[block]]\n{surfaces}categories = ['Home/Lamps']\nprice_to = 6.0\n"
        f"[[require]]\n{surfaces}categories = ['Home']\nprice_to = 12.0\n",
    )
    for query in ("red-cup", "Red cup", "cup", "lamp", "white hanging heart"):
        answer = asked(items, served, rules, query)
        price = {item.item_id: item.price for item in ITEMS}
        shown = set(ids(answer))
        assert not shown & {"red-cup", "hanging", "red-lamp", "blue-lamp"}, query
        assert all((price[one] or 99.0) <= 12.0 for one in shown), query
        assert answer.context.rules == rules.book.name != ""


def test_rules_of_other_surfaces_and_none_leave_searches_alone(
    items: SearchItems, served: SearchVersion | None, tmp_path: Path
) -> None:
    before = asked(items, served, None)
    text = (
        "[[block]]\nsurfaces = ['home']\nitems = ['red-cup']\n"
        "[[boost]]\nsurfaces = ['similar']\nfactor = 9\ncategories = ['Home/Lamps']\n"
        # What arranges a list and is of all surfaces is not for searches.
        "[[pin]]\nitem = 'black-lamp'\nposition = 1\n"
        "[[at_most]]\ncount = 1\ndepth = 1\n[[diversity]]\nvalue = 0.9\n"
        "[[exposure]]\neach_item = true\nper_hour = 1\n"
    )
    desk = desk_over(items, served, rules=rules_in(tmp_path, text))
    for _ in range(3):
        after = ask(desk, "cup", k=30)
        assert (after.slots, before.context.rules) == (before.slots, "")
        assert after.context.diversity == 0.0


def test_pins_stand_in_their_places_and_nothing_is_learned_from_them(
    items: SearchItems, served: SearchVersion | None, tmp_path: Path
) -> None:
    pin = "[[pin]]\nsurfaces = ['search']\n"
    rules = rules_in(
        tmp_path,
        f"{pin}item = 'black-lamp'\nposition = 2\n{pin}item = 'gone'\nposition = 1\n"
        f"{pin}item = 'hanging'\nposition = 40\n{pin}item = 'red-shoe'\nposition = 3\n"
        "[[block]]\nitems = ['red-shoe']\n",
    )
    before, after = asked(items, served, None), asked(items, served, rules)
    assert after.slots[1].item_id == "black-lamp"
    assert (after.slots[1].source, after.slots[1].features) == ("pin", [])
    assert [one.position for one in after.slots] == list(range(1, len(after.slots) + 1))
    rest = [one for one in ids(after) if one != "black-lamp"]
    assert rest == [one for one in ids(before) if one not in ("black-lamp", "red-shoe")]
    excluded = ask(desk_over(items, served, rules=rules), "cup", exclude_item_ids=["black-lamp"])
    assert "black-lamp" not in ids(excluded)


def test_boosts_lift_and_buries_lower_and_scores_stay_without_them(
    items: SearchItems, served: SearchVersion | None, tmp_path: Path
) -> None:
    before = asked(items, served, None)
    last = before.slots[-1].item_id
    assert last not in ids(before)[:3]
    boosted = asked(
        items, served, rules_in(tmp_path, f"[[boost]]\nfactor = 1000\nitems = ['{last}']\n")
    )
    assert ids(boosted).index(last) < ids(before).index(last)
    if served is None:
        assert boosted.slots[0].item_id == last
        assert {s.item_id: s.score for s in boosted.slots} == {
            s.item_id: s.score for s in before.slots
        }
    buried = rules_in(tmp_path, "[[bury]]\nfactor = 1000\ncategories = ['Home/Cups']\n")
    exact = asked(items, served, buried, "red-cup")
    assert exact.slots[0].item_id == "red-cup"  # ids and whole titles come first all the same


def test_where_rules_rule_out_the_best_the_next_ones_are_found(tmp_path: Path) -> None:
    items = SearchItems(Settings(), "serving-1", tmp_path)
    cups = [
        Item(item_id=f"c{n}", updated_at_ms=1, title="cup cup" if n < 450 else "a cup of tin",
             category="Bad" if n < 450 else "Good")
        for n in range(460)
    ]  # fmt: skip
    items.put(cups)
    items.index.commit()
    answer = asked(items, None, rules_in(tmp_path, "[[block]]\ncategories = ['Bad']\n"))
    assert len(answer.slots) == 10


def test_what_is_required_is_asked_of_the_index_once_though_nearly_nothing_has_it(
    items: SearchItems, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks: list[int] = []
    whole = ItemIndex.hits

    def hits(index: ItemIndex, *what: Any) -> list[tuple[int, float]]:
        found = whole(index, *what)
        asks.append(len(found))
        return found

    monkeypatch.setattr(ItemIndex, "hits", hits)
    text = "[[require]]\ncategories = ['Home/Cups']\n[[require]]\nprice_from = 3\n"
    answer = asked(items, None, rules_in(tmp_path, text), "red cup lamp shoe")
    assert asks == [len(answer.slots)]
    assert {item.category for item in ITEMS if item.item_id in ids(answer)} == {"Home/Cups"}


def test_a_new_file_counts_from_the_next_search(
    items: SearchItems,
    served: SearchVersion | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rules = rules_in(tmp_path, "")
    desk = desk_over(items, served, rules=rules)
    assert "red-cup" in ids(ask(desk, "cup"))
    (tmp_path / "rules.toml").write_text("[[block]]\nitems = ['red-cup']\n")
    with caplog.at_level(logging.ERROR):
        rules.look()
    assert "red-cup" not in ids(ask(desk, "cup"))
    assert not caplog.records


ROWS = st.lists(
    st.tuples(st.floats(-50, 50), st.floats(-7, 7), st.booleans()), min_size=1, max_size=12
)


@given(ROWS)
@settings(max_examples=100)
def test_terms_move_items_within_exact_and_others_and_leave_scores(
    rows: list[tuple[float, float, bool]],
) -> None:
    blend = BlendWeights(columns=("bm25",), weights=(1.0,), centres=(0.0,), scales=(1.0,))
    names = [f"i{n:02}" for n in range(len(rows))]
    exact = frozenset(name for name, row in zip(names, rows, strict=True) if row[2])
    scores, terms = np.array([[row[0]] for row in rows]), np.array([row[1] for row in rows])
    plain = dict(order(names, scores, blend, exact))
    found = order(names, scores, blend, exact, terms)
    assert dict(found) == plain
    wanted = [(rows[at][2], plain[at] + terms[at]) for at, _ in found]
    assert wanted == sorted(wanted, reverse=True)
