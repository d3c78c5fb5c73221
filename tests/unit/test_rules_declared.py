"""What a rules file may say, which mistakes are named, and which items it means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalogue import Catalogue
from core.row_masks import ByRow, FilterMasks, selecting
from core.rules import Block, parse_rules
from schemas.errors import BadSettings
from schemas.predictions import Filters

CATEGORIES = ["", "Home", "Home/Kitchen", "Homeware", "Garden"]
PRICES = [None, 0.0, 2.5, 4.95, 10.0]
SAID = st.tuples(
    st.sampled_from([f"i{number}" for number in range(8)]),
    st.sampled_from(CATEGORIES),
    st.sampled_from(PRICES),
    st.booleans(),
    st.sampled_from([None, 0, 4]),
)
FILTERS = st.builds(
    Filters,
    categories=st.lists(st.sampled_from(CATEGORIES[1:]), max_size=2),
    excluded_categories=st.lists(st.sampled_from(CATEGORIES[1:]), max_size=1),
    price_from=st.sampled_from([None, 0.0, 2.5]),
    price_to=st.sampled_from([None, 4.95, 10.0]),
    in_stock_only=st.booleans(),
)


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("[[pin]]\nitem = 'a'\nposition = 101", "`int` <= 100 - at `$.pin[0].position`"),
        ("[[pin]]\nitem = 'a'", "required field `position` - at `$.pin[0]`"),
        ("[[boost]]\nfactor = 2", "names no items: expected `items`, `categories` or a price"),
        ("[[boost]]\nfactor = 0.5\nitems = ['a']", "`float` > 1.0 - at `$.boost[0].factor`"),
        ("[[blok]]\nitems = ['a']", "unknown field `blok`"),
        ("[[block]]\nitem = ['a']", "unknown field `item` - at `$.block[0]`"),
        ("[[require]]\nprice_from = 5\nprice_to = 4", "no price lies from 5.0 to 4.0"),
        ("[[exposure]]\nitems = ['a']", "one of `share` and `per_hour` - at `$.exposure[0]`"),
        ("[[exposure]]\nshare = 0.2", "names no items"),
        ("[[diversity]]\nvalue = 1.5", "`float` <= 1.0 - at `$.diversity[0].value`"),
        ("[[block]]\nitems = ['a']\nsurfaces = ['Home Page']", "at `$.block[0].surfaces[0]`"),
        ("[[block]]\nitems = ['a']\nfrom = 2026-01-01T00:00:00", "at `$.block[0].from`"),
        (
            "[[block]]\nitems = ['a']\nfrom = 2026-01-01T00:00:00Z\nuntil = 2026-01-01T00:00:00Z",
            "`from` must be before `until` - at `$.block[0]`",
        ),
        (
            "[[pin]]\nitem = 'a'\nposition = 1\n[[pin]]\nitem = 'b'\nposition = 1",
            "position 1 is taken by `$.pin[0]` - at `$.pin[1]`",
        ),
        ("[[pin]\n", "Expected"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, mistake: str) -> None:
    with pytest.raises(BadSettings) as caught:
        parse_rules(text)
    assert mistake in str(caught.value)


def test_every_mistake_of_a_file_is_named_at_once() -> None:
    text = "[[boost]]\nfactor = 2\n[[exposure]]\nitems = ['a']\n"
    with pytest.raises(BadSettings) as caught:
        parse_rules(text)
    assert "$.boost[0]" in str(caught.value)
    assert "$.exposure[0]" in str(caught.value)


def test_pins_may_share_a_place_on_other_surfaces_or_at_other_times() -> None:
    text = """
    [[pin]]
    item = "a"
    position = 1
    surfaces = ["home"]
    until = 2026-12-01T00:00:00Z
    [[pin]]
    item = "b"
    position = 1
    surfaces = ["discover"]
    [[pin]]
    item = "c"
    position = 1
    surfaces = ["home"]
    from = 2026-12-01T00:00:00+00:00
    """
    first, _, third = parse_rules(text).pin
    assert first.holds("home", 0)
    assert not first.holds("discover", 0)
    boundary = int(third.span_ms[0])
    assert (first.holds("home", boundary), third.holds("home", boundary)) == (False, True)


def _passes(filters: Filters, said: tuple[str, str, float | None, bool, int | None]) -> bool:
    _, category, price, available, stock = said

    def below(names: list[str]) -> bool:
        return any(f"{category}/".startswith(f"{name}/") for name in names)

    low = -1.0 if filters.price_from is None else filters.price_from
    high = 99.0 if filters.price_to is None else filters.price_to
    in_band = (low, high) == (-1.0, 99.0) or (price is not None and low <= price <= high)
    return (
        available
        and (stock != 0 or not filters.in_stock_only)
        and (not filters.categories or below(filters.categories))
        and not below(filters.excluded_categories)
        and in_band
    )


@settings(max_examples=60)
@given(st.lists(st.lists(SAID, max_size=5), min_size=1, max_size=6), st.lists(FILTERS, max_size=4))
def test_kept_masks_say_what_each_item_is_now(
    rounds: list[list[tuple[str, str, float | None, bool, int | None]]], asked: list[Filters]
) -> None:
    catalogue, masks = Catalogue(), FilterMasks()
    now: dict[str, tuple[str, str, float | None, bool, int | None]] = {}
    for said in rounds:
        for one in said:
            item, category, price, available, stock = one
            row = catalogue.row(item)
            catalogue.put(row, "", price, available, category=category, stock=stock)
            now[item] = one
        catalogue.row("never told of")
        now["never told of"] = ("", "", None, True, None)
        for filters in asked:
            expected = [_passes(filters, now[item]) for item in catalogue.item_ids]
            assert masks.mask(catalogue, filters).tolist() == expected


def test_an_item_named_before_it_is_heard_of_is_selected_once_it_is() -> None:
    catalogue = Catalogue()
    chosen = ByRow(selecting(Block(items=["late"], categories=["Home"], price_to=3)), np.bool_)
    catalogue.put(catalogue.row("cup"), "", 2.0, True, category="Home/Kitchen")
    assert chosen.at(catalogue).tolist() == [True]
    catalogue.put(catalogue.row("late"), "", 2.0, True)
    catalogue.put(catalogue.row("dear"), "", 9.0, True, category="Home")
    assert chosen.at(catalogue).tolist() == [True, True, False]


def test_masks_follow_a_catalogue_through_more_changes_than_are_remembered() -> None:
    catalogue, masks = Catalogue(), FilterMasks()
    catalogue.put(catalogue.row("a"), "", 1.0, True)
    assert masks.mask(catalogue, Filters(price_to=2)).tolist() == [True]
    catalogue.put(catalogue.row("a"), "", 3.0, True)
    for _ in range(70_000):
        catalogue.put(catalogue.row("b"), "", 1.0, True)
    assert masks.mask(catalogue, Filters(price_to=2)).tolist() == [False, True]
