"""Neighbours by title: exact, and the same however the index came about."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.catalogue import Catalogue
from core.text_neighbours import RAREST, TextNeighbours, title_words

WORDS = ["red", "blue", "mugs", "mug", "glass", "clock", "tea", "towel", "owl"]
TITLES = st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join)


def _catalogue(titles: list[str]) -> Catalogue:
    catalogue = Catalogue()
    for number, title in enumerate(titles):
        catalogue.put(catalogue.row(f"i{number}"), title, None, True)
    return catalogue


def _by_definition(titles: list[str], row: int, n: int) -> list[int]:
    words = [title_words(title) for title in titles]
    common = {w: sum(w in other for other in words) for one in words for w in one}
    rarest = sorted(words[row], key=lambda word: common[word])[:RAREST]
    found = {}
    for other, there in enumerate(words):
        score = sum(np.log(1 + len(titles) / common[w]) ** 2 for w in rarest if w in there)
        if other != row and score > 0:
            found[other] = np.float32(score * np.float32(len(there) ** -0.5))
    return sorted(found, key=lambda other: (-found[other], other))[:n]


@given(st.lists(TITLES, min_size=1, max_size=40), st.data())
def test_neighbours_are_those_of_the_definition_also_after_changes(
    titles: list[str], data: st.DataObject
) -> None:
    catalogue, near = _catalogue(titles), TextNeighbours()
    near.follow(catalogue)
    for row, title in data.draw(
        st.lists(st.tuples(st.integers(0, len(titles) + 2), TITLES), max_size=8)
    ):
        catalogue.put(catalogue.row(f"i{row}"), title, None, True)
        if data.draw(st.booleans()):
            near.follow(catalogue)
    titles, rebuilt = list(catalogue.titles), TextNeighbours()
    for row in range(len(titles)):
        found = near.nearest(catalogue, row, 5).tolist()
        assert found == rebuilt.nearest(catalogue, row, 5).tolist()
        expected = _by_definition(titles, row, 5)
        assert _scores(titles, row, found) == _scores(titles, row, expected)


def _scores(titles: list[str], row: int, rows: list[int]) -> list[float]:
    """Neighbours by their likeness: sums in another order may swap those that are as like."""
    words = [title_words(title) for title in titles]
    common = {w: sum(w in other for other in words) for one in words for w in one}
    return [
        round(
            sum(np.log(1 + len(titles) / common[w]) ** 2 for w in words[row] if w in words[other])
            * len(words[other]) ** -0.5,
            4,
        )
        for other in rows
    ]


def test_titles_in_chinese_meet_by_pairs_of_characters() -> None:
    catalogue = _catalogue(["红色杯子", "蓝色杯子", "挂钟"])
    assert TextNeighbours().nearest(catalogue, 0, 5).tolist() == [1]


def test_an_item_without_a_title_has_no_neighbours() -> None:
    catalogue = _catalogue(["", "red mug", "..."])
    assert TextNeighbours().nearest(catalogue, 0, 5).tolist() == []
