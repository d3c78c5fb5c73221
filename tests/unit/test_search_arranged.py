"""Caps of categories, limits of exposure and diversity in searches, and what is logged of them."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served_search_factory import ITEMS, ask, desk_over, embedded, ids, items_in, loaded_search

from adapters.artefacts import ArtefactStore
from adapters.text_version import SearchVersion
from core.diversity import ItemLikeness, list_likeness
from core.exposure import HOUR_MS
from core.settings import Settings
from schemas.predictions import Prediction
from serving.rules_file import RulesFile
from serving.search_items import SearchItems
from serving.searching import SearchDesk

HERE = "surfaces = ['search']\n"
CATEGORY = {item.item_id: item.category for item in ITEMS}


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> SearchVersion:
    return loaded_search(ArtefactStore(tmp_path_factory.mktemp("artefacts").as_uri()))


@pytest.fixture(scope="module")
def items(version: SearchVersion, tmp_path_factory: pytest.TempPathFactory) -> SearchItems:
    return embedded(items_in(tmp_path_factory.mktemp("vectors")), version)


@pytest.fixture(scope="module", params=["words", "version"])
def served(request: pytest.FixtureRequest, version: SearchVersion) -> SearchVersion | None:
    return version if request.param == "version" else None


def desk_by(
    items: SearchItems, served: SearchVersion | None, folder: Path, text: str
) -> SearchDesk:
    path = folder / "rules.toml"
    path.write_text(text)
    return desk_over(items, served, rules=RulesFile(Settings(rules=str(path))))


def likeness(items: SearchItems, answer: Prediction) -> float:
    catalogue = items.book.catalogue
    rows = np.array([catalogue.row_of[one] for one in ids(answer)])
    return list_likeness(ItemLikeness().matrix(catalogue, rows), list(range(len(rows))))


def test_at_most_so_many_of_a_category_where_there_are_others(
    items: SearchItems, served: SearchVersion | None, tmp_path: Path
) -> None:
    query = "red cup lamp chair"
    plain = ask(desk_over(items, served), query, k=30)
    desk = desk_by(items, served, tmp_path, f"[[at_most]]\n{HERE}count = 1\n")
    answer = ask(desk, query, k=3)
    categories = [CATEGORY[one] for one in ids(answer) if CATEGORY[one]]
    assert len(set(categories)) == len(categories)
    assert answer.slots[0] == plain.slots[0]  # the best of each stays
    score = {slot.item_id: slot.score for slot in plain.slots}
    assert all(slot.score == score[slot.item_id] for slot in answer.slots)
    whole = ask(desk, query, k=30)
    assert set(ids(whole)) == set(ids(plain))  # those beyond the cap fill what is left
    assert answer.context.rules != ""


@pytest.mark.parametrize("about", ["each_item = true", "categories = ['Home']"])
def test_limits_of_exposure_count_searches_by_the_hour(
    items: SearchItems, served: SearchVersion | None, tmp_path: Path, about: str
) -> None:
    desk = desk_by(items, served, tmp_path, f"[[exposure]]\n{HERE}per_hour = 2\n{about}\n")

    def answered(at_ms: int) -> list[str]:
        return ids(ask(desk, "home cup", k=2, as_of_ms=at_ms))

    first, later = answered(0), [answered(HOUR_MS - 1) for _ in range(2)]
    plain = ids(ask(desk_over(items, served), "home cup", k=2))
    assert first == plain
    if about.startswith("each"):
        assert later[0] == plain
        assert not set(later[1]) & set(plain)
    elif served is not None:  # others were found by their vectors
        assert not any(CATEGORY[one] for one in later[1])
    assert answered(HOUR_MS) == plain


def test_a_limit_that_a_new_file_leaves_goes_on_counting(
    items: SearchItems, served: SearchVersion | None, tmp_path: Path
) -> None:
    limit = f"[[exposure]]\n{HERE}per_hour = 1\neach_item = true\n"
    path = tmp_path / "rules.toml"
    path.write_text(limit)
    rules = RulesFile(Settings(rules=str(path)))
    desk = desk_over(items, served, rules=rules)
    first = ids(ask(desk, "home cup", k=2))
    path.write_text(limit + "[[block]]\nitems = ['black-shoe']\n")
    rules.look()
    assert not set(ids(ask(desk, "home cup", k=2))) & set(first)


def test_diversity_of_the_request_or_else_of_the_rules_is_applied_and_logged(
    items: SearchItems, served: SearchVersion | None, tmp_path: Path
) -> None:
    query, desk = "home red", desk_over(items, served)
    plain, varied = ask(desk, query, k=5), ask(desk, query, k=5, diversity=0.8)
    assert (plain.context.diversity, varied.context.diversity) == (0.0, 0.8)
    assert likeness(items, varied) < likeness(items, plain)
    assert varied.slots[0] == plain.slots[0]
    ruled = desk_by(items, served, tmp_path, f"[[diversity]]\n{HERE}value = 0.8\n")
    asked = ask(ruled, query, k=5)
    assert (asked.slots, asked.context.diversity) == (varied.slots, 0.8)
    assert ask(ruled, query, k=5, diversity=0.1).context.diversity == 0.1


def test_what_the_query_names_stays_first_and_counts(
    items: SearchItems, served: SearchVersion | None, tmp_path: Path
) -> None:
    text = (
        f"[[at_most]]\n{HERE}count = 1\n[[exposure]]\n{HERE}each_item = true\nper_hour = 1\n"
        f"[[pin]]\n{HERE}item = 'hanging'\nposition = 1\n"
    )
    desk = desk_by(items, served, tmp_path, text)
    for _ in range(3):
        answer = ask(desk, "red cup", k=4, diversity=0.9)
        assert ids(answer)[:2] == ["hanging", "red-cup"]
        assert (answer.slots[0].source, answer.slots[0].features) == ("pin", [])
        assert answer.slots[1].source.startswith("exact")


WORDS = st.sampled_from(["home cup", "red", "red cup", "lamp chair", "white heart", "", "table 7"])
WISHES = st.fixed_dictionaries(
    {}, optional={"diversity": st.floats(0, 1), "exclude_item_ids": st.just(["red-cup"])}
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WORDS, st.integers(1, 30), st.integers(1, 3), st.booleans(), WISHES)
def test_rules_only_arrange_what_was_found_and_nobody_overtakes_within_a_category_by_a_cap(
    items: SearchItems,
    served: SearchVersion | None,
    tmp_path_factory: pytest.TempPathFactory,
    query: str,
    k: int,
    count: int,
    limited: bool,
    wishes: dict[str, Any],
) -> None:
    text = f"[[at_most]]\n{HERE}count = {count}\n"
    if limited:
        text += f"[[exposure]]\n{HERE}share = 0.3\neach_item = true\n"
    desk = desk_by(items, served, tmp_path_factory.mktemp("rules"), text)
    found = ask(desk, query, k=k, **wishes)
    plain = ask(desk_over(items, served), query, k=100, **(wishes | {"diversity": 0.0}))
    by_item = {slot.item_id: slot for slot in plain.slots}
    assert len(found.slots) == min(k, len(plain.slots))
    assert [slot.position for slot in found.slots] == list(range(1, len(found.slots) + 1))
    for slot in found.slots:
        known = by_item[slot.item_id]
        assert (slot.score, slot.source, slot.features, slot.propensity) == (
            known.score, known.source, known.features, 1.0,
        )  # fmt: skip
    if not limited and not wishes.get("diversity"):
        rank = {slot.item_id: slot.position for slot in plain.slots}
        for better, worse in combinations(ids(found), 2):
            if CATEGORY[better] == CATEGORY[worse]:
                assert rank[better] < rank[worse]
