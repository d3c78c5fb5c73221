"""What the catalogue learns of category, price and stock, and the graph of what goes with what."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.candidates import Ask, ground_of
from core.catalogue import Catalogue
from core.relations import Relations
from core.shop_state import ShopState

NAMES = st.sampled_from([f"i{number}" for number in range(6)])


def test_an_item_without_stock_is_not_listed_until_there_is_some() -> None:
    state = ShopState()
    for stock, listed in ((3, True), (0, False), (None, True)):
        state.put_item("cup", "CUP", 2.5, 1, stock=stock)
        allowed = ground_of(state, Ask(visitor_id="v", surface="home", now_ms=1)).allowed
        assert allowed.tolist() == [listed]


def test_growth_and_a_snapshot_keep_category_price_and_stock() -> None:
    state = ShopState()
    for number in range(600):
        state.put_item(f"i{number}", "", number / 4, 1, category=f"C{number % 3}", stock=number)
    state.put_item("i5", "", None, 2, compatible_with=["i6", "later"])
    again = ShopState.from_bytes(state.to_bytes())
    catalogue, row = again.catalogue, again.catalogue.row_of["i301"]
    assert (catalogue.price[row], catalogue.stock[row]) == (75.25, 301)
    assert catalogue.categories[catalogue.category[row]] == "C1"
    assert catalogue.category[catalogue.row_of["i5"]] == 0
    assert np.isnan(catalogue.price[catalogue.row_of["i5"]])
    assert again.relations.accessories("i5") == ["i6", "later"]
    catalogue.put(row, "", None, True, category="C2")
    assert catalogue.categories == ["", "C0", "C1", "C2"]


def test_changes_are_told_by_row_until_they_are_too_long_ago() -> None:
    catalogue = Catalogue()
    for _ in range(40_000):
        catalogue.put(catalogue.row("a"), "", 1.0, True)
        catalogue.put(catalogue.row("b"), "", 1.0, True)
    assert catalogue.version == 80_000
    assert catalogue.changed_since(0) is None
    recent = catalogue.changed_since(79_999)
    assert recent is not None
    assert recent.tolist() == [1]


def test_relations_beyond_the_bound_are_left_out_and_counted() -> None:
    relations = Relations(most=3)
    relations.put("a", compatible_with=["b", "c"])
    relations.put("d", compatible_with=["e", "f"])
    assert (relations.size, relations.left_out) == (3, 1)
    relations.put("a")
    relations.put("d", compatible_with=["e", "f"])
    assert relations.accessories("d") == ["e", "f"]
    assert relations.accessories("b") == []


@given(st.lists(st.tuples(NAMES, st.lists(NAMES, max_size=4), st.lists(NAMES, max_size=3))))
def test_only_what_each_item_said_last_holds(said: list[tuple[str, list[str], list[str]]]) -> None:
    relations = Relations()
    last: dict[str, tuple[list[str], list[str]]] = {}
    for item, compatible, substitute in said:
        relations.put(item, compatible_with=compatible, substitute_of=substitute)
        last[item] = compatible, substitute
    restored = Relations.from_dict(relations.to_dict())
    for item in {f"i{number}" for number in range(6)}:
        with_it = {b for a, (named, _) in last.items() for b in named if a == item}
        with_it |= {a for a, (named, _) in last.items() if item in named}
        for each in (relations, restored):
            assert set(each.accessories(item)) == with_it - {item}
            assert set(each.stand_ins(item)) == {
                a for a, (_, named) in last.items() if item in named and a != item
            }
            assert each.size == relations.size


def test_a_row_can_be_looked_up_only_once_it_is_whole() -> None:
    catalogue = Catalogue()

    class Titles(list[str]):
        def append(self, title: str) -> None:
            assert "cup" not in catalogue.row_of
            super().append(title)

    catalogue.titles = Titles()
    assert catalogue.row("cup") == 0
