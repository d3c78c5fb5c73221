"""Searches answered from items in memory: what is found, in which order, within which time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served_search_factory import (
    ITEMS,
    Clock,
    ask,
    desk_over,
    embedded,
    ids,
    items_in,
    loaded_search,
)

from adapters.artefacts import ArtefactStore
from adapters.onnx_text import TextGraph
from adapters.text_version import SearchVersion
from core.degrading import MODEL_FAILED
from core.pair_budget import PairCost
from schemas.codec import Decoder, encode
from schemas.errors import InvalidEvent
from schemas.items import Item
from schemas.predictions import Filters, Prediction, SearchRequest
from serving.answer import Moment
from serving.graph_breakers import GraphBreakers
from serving.item_vectors import ItemVectors
from serving.searching import PARTIAL, SearchDesk


@dataclass
class Slow:
    """A graph of pairs each of which takes so long by the clock."""

    graph: TextGraph
    clock: Clock
    pair_ms: float

    def rows(self, tokens: Sequence[Sequence[int]], batch_rows: int) -> Any:
        self.clock.now_s += len(tokens) * self.pair_ms / 1e3
        return self.graph.rows(tokens, batch_rows=batch_rows)


@dataclass
class Broken:
    """A graph that computes nothing, and counts how often it was asked."""

    asked: int = 0

    def rows(self, *_: object, **__: object) -> Any:
        self.asked += 1
        raise ValueError("it broke")


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> SearchVersion:
    return loaded_search(ArtefactStore((tmp_path_factory.mktemp("artefacts")).as_uri()))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> SearchDesk:
    return desk_over(items_in(tmp_path_factory.mktemp("vectors")), None)


@pytest.fixture(scope="module")
def whole(version: SearchVersion, tmp_path_factory: pytest.TempPathFactory) -> SearchDesk:
    items = items_in(tmp_path_factory.mktemp("vectors"))
    return desk_over(embedded(items, version), version)


def test_without_a_version_words_alone_answer_and_say_so(plain: SearchDesk) -> None:
    answer = ask(plain, "red lamp", k=3)
    assert ids(answer)[0] == "red-lamp"
    assert (answer.degraded, answer.arm, answer.model_version) == ("no_model", "fallback", "")
    assert (answer.surface, answer.task, answer.query) == ("search", "search", "red lamp")
    assert {slot.source for slot in answer.slots[1:]} == {"bm25"}
    assert answer.slots[0].source == "exact+bm25"


@pytest.mark.parametrize(
    ("query", "corrected"),
    [
        ("haert holder", "heart holder"),
        ("hangnig lgiht", "hanging light"),
        ("white hearts", ""),
        ("lihgt", "light"),
        ("hanging hea", ""),  # the last word is a beginning
    ],
)
def test_words_that_no_item_has_give_way_to_near_ones(
    plain: SearchDesk, query: str, corrected: str
) -> None:
    answer = ask(plain, query)
    assert ids(answer)[0] == "hanging"
    assert answer.context.corrected_query == corrected


def test_exact_ids_and_titles_come_first(plain: SearchDesk, whole: SearchDesk) -> None:
    for desk in (plain, whole):
        assert ids(ask(desk, "ZH"))[0] == "zh"
        assert ids(ask(desk, " blue CHAIR "))[0] == "blue-chair"
        assert ask(desk, "blue chair").slots[0].source.startswith("exact")


def test_filters_exclusions_and_what_is_not_listed(plain: SearchDesk, whole: SearchDesk) -> None:
    for desk in (plain, whole):
        assert {"gone", "sold"}.isdisjoint(ids(ask(desk, "red cup", k=50)))
        sold = Filters(in_stock_only=False)
        found = ids(ask(desk, "red cup sold", k=50, filters=sold))
        assert "sold" in found
        assert "gone" not in found
        cups = Filters(categories=["Home/Cups"], price_to=4.0)
        assert set(ids(ask(desk, "cup", k=50, filters=cups))) == {"red-cup", "blue-cup"}
        rest = Filters(excluded_categories=["Home/Cups"], price_from=0.0)
        found = ids(ask(desk, "red cup", k=50, filters=rest, exclude_item_ids=["red-shoe"]))
        assert found
        assert not any("cup" in name for name in found)
        assert "red-shoe" not in found


def test_unspaced_scripts_are_found_by_pairs_of_characters(plain: SearchDesk) -> None:
    assert ids(ask(plain, "陶瓷")) == ["zh"]


@pytest.mark.parametrize("query", ["", "\U0001f3a7\U0001f3a7", "?!", "\u200f"])
def test_signs_alone_find_nothing_by_their_vector_either(whole: SearchDesk, query: str) -> None:
    answer = ask(whole, query)
    assert (answer.slots, answer.degraded) == ([], None)


def test_an_item_changes_its_words_or_goes(tmp_path: Path) -> None:
    items = items_in(tmp_path)
    desk = desk_over(items, None)
    items.put([Item(item_id="red-cup", updated_at_ms=2, title="Scarlet mug")])
    items.index.commit()
    assert ids(ask(desk, "mug")) == ["red-cup"]
    assert "red-cup" not in ids(ask(desk, "red cup"))
    items.drop("red-cup")
    items.index.commit()
    assert ids(ask(desk, "mug")) == []
    assert "red-cup" not in ids(ask(desk, "red-cup", k=50))
    items.drop("never heard of")


def test_a_version_orders_by_its_blend_and_logs_its_columns(
    whole: SearchDesk, version: SearchVersion
) -> None:
    answer = ask(whole, "red lamp", k=5)
    assert (answer.arm, answer.model_version) == ("champion", version.version)
    assert answer.degraded is None
    assert answer.slots[0].source == "exact+bm25+dense+pair"
    assert {slot.source for slot in answer.slots} <= {"exact+bm25+dense+pair", "bm25+dense+pair",
                                                      "dense+pair"}  # fmt: skip
    columns = version.blend.columns
    features = dict(zip(columns, answer.slots[0].features, strict=True))
    assert features["title_all"] == 1.0
    logit = float(version.pair_logits("red lamp", ["Red lamp"])[0])
    assert features["cross"] == pytest.approx(logit, abs=1e-4)
    scores = [slot.score for slot in answer.slots]
    assert scores == sorted(scores, reverse=True)
    assert [slot.propensity for slot in answer.slots] == [1.0] * 5


def timed(whole: SearchDesk, version: SearchVersion, pair_ms: float, **fields: Any) -> SearchDesk:
    clock = Clock()
    slow = replace(version, pairs=Slow(version.pairs, clock, pair_ms))
    return desk_over(whole._items, slow, clock, **fields)


def pairs_of(answer: Prediction) -> int:
    return sum("pair" in slot.source for slot in answer.slots)


def test_pairs_are_read_for_as_long_as_there_is_time(
    whole: SearchDesk, version: SearchVersion
) -> None:
    candidates = len(ids(ask(whole, "red lamp", k=100)))
    for budget_ms, pair_ms, least, most in (
        (0, 1.0, 0, 0),
        (3, 1.0, 1, 3),
        (40, 5.0, 4, 8),
        (40, 0.001, candidates, candidates),
    ):
        desk = timed(whole, version, pair_ms, search_budget_ms=budget_ms)
        answers = [  # the estimate follows what pairs take
            ask(desk, "red lamp", k=100, arrived_s=desk._clock()) for _ in range(30)
        ]
        answer = max(answers[20:], key=pairs_of)
        assert least <= pairs_of(answer) <= most
        assert answer.slots[0].item_id == "red-lamp"
    late = ask(timed(whole, version, 1.0), "red lamp", arrived_s=-10.0)
    assert pairs_of(late) == 0


@pytest.mark.parametrize(("broken", "gone"), [("vectors", "dense"), ("pairs", "pair")])
def test_one_graph_that_fails_leaves_what_the_other_says(
    whole: SearchDesk, version: SearchVersion, broken: str, gone: str
) -> None:
    part: Any = Broken()
    found = ask(desk_over(whole._items, replace(version, **{broken: part})), "red lamp", k=10)
    sources = {name for slot in found.slots for name in slot.source.split("+")}
    assert (found.degraded, found.arm) == (MODEL_FAILED, "champion")
    assert sources == {"exact", "bm25", "dense", "pair"} - {gone}


@pytest.mark.parametrize("part", ["vectors", "pairs"])
def test_a_graph_that_keeps_failing_is_left_alone_and_tried_again(
    whole: SearchDesk, version: SearchVersion, part: str
) -> None:
    broken, now_ms = Broken(), 0
    made: dict[str, Any] = {part: broken}
    breakers = GraphBreakers(clock=lambda: now_ms)
    desk = desk_over(whole._items, replace(version, **made), breakers=breakers)
    answers = [ask(desk, "red lamp", k=10) for _ in range(6)]
    assert broken.asked == 3
    assert {answer.degraded for answer in answers} == {MODEL_FAILED}
    assert answers[5].slots == answers[0].slots
    now_ms = 2_000
    ask(desk, "red lamp", k=10)
    assert broken.asked == 4
    now_ms = 6_000
    mended = desk_over(whole._items, version, breakers=breakers)
    assert [ask(mended, "red lamp").degraded for _ in range(3)] == [None] * 3
    assert {state for _, state, _ in breakers.standing()} == {"closed"}


def test_without_either_graph_words_alone_order_and_it_is_said(
    whole: SearchDesk, plain: SearchDesk, version: SearchVersion
) -> None:
    part: Any = Broken()
    broken = replace(version, vectors=part, pairs=part)
    found = ask(desk_over(whole._items, broken), "red lamp", k=10)
    assert (found.degraded, found.arm, found.model_version) == (MODEL_FAILED, "fallback", "")
    assert found.slots == ask(plain, "red lamp", k=10).slots


def test_requests_of_a_batch_share_the_budget(whole: SearchDesk, version: SearchVersion) -> None:
    desk = timed(whole, version, 1.0, search_budget_ms=8)
    desk.cost = PairCost(1.0)
    batch = [
        SearchRequest(request_id=f"r{i}", visitor_id="v", query="red cup", k=50) for i in range(2)
    ]
    first, second = desk.answer(batch, Moment(1_000, 0.0, "serving-1"))
    assert (pairs_of(first), pairs_of(second)) == (4, 4)
    assert second.request_id == "r1"


def test_until_all_have_vectors_those_that_do_are_found_and_it_is_said(
    version: SearchVersion, tmp_path: Path
) -> None:
    items = items_in(tmp_path)
    items.begin([version])
    desk = desk_over(items, version)
    answer = ask(desk, "red lamp", k=3)
    assert (answer.degraded, items.share(version.version)) == (PARTIAL, 0.0)
    assert answer.slots[0].item_id == "red-lamp"
    items.vectors[version.version].embed()
    assert items.share(version.version) == 1.0
    assert ask(desk, "red lamp").degraded is None


def test_vectors_outlive_a_restart_and_serve_another_replica(
    version: SearchVersion, tmp_path: Path
) -> None:
    first = items_in(tmp_path)
    first.begin([version])
    assert first.vectors[version.version].embed() == len({item.title for item in ITEMS})
    (path,) = tmp_path.glob("*/*.vectors")
    for process in ("serving-1", "serving-2"):
        again = items_in(tmp_path, process)
        again.begin([version])
        assert again.share(version.version) == 1.0
        assert ids(ask(desk_over(again, version), "red lamp")) == ids(
            ask(desk_over(first, version), "red lamp")
        )
    path.write_bytes(path.read_bytes()[:-5])  # a write that was cut off
    cut = items_in(tmp_path)
    cut.begin([version])
    assert cut.vectors[version.version].embed() == 1
    assert items_in(tmp_path / "elsewhere").vectors == {}


def test_a_title_that_changes_gets_another_vector(version: SearchVersion, tmp_path: Path) -> None:
    items = items_in(tmp_path)
    items.begin([version])
    vectors: ItemVectors = items.vectors[version.version]
    vectors.embed()
    items.put([Item(item_id="red-cup", updated_at_ms=2, title="black lamp")])
    assert vectors.share < 1.0 or vectors.embed() == 0
    vectors.embed()
    query = version.query_vectors(["black lamp"])[0]
    row = items.book.catalogue.row_of["red-cup"]
    assert vectors.cosines(query)[row] == pytest.approx(1.0, abs=1e-2)


def test_personal_data_is_taken_out_of_what_is_logged(plain: SearchDesk) -> None:
    answer = ask(plain, "red cup for ann@example.com")
    assert answer.query == "red cup for <email>"
    assert "ann@" not in encode(answer).decode()


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        [
            "", " ", "\x00\x01", "🙂🙂 red", "a" * 1_000, "red " * 250, 'title:"red cup"~5',
            "red AND (cup OR", "*", "[a TO b]", "-red +cup^9", "/re.*/", "\\", "IN [a b]", "\ud7ff",
            "&#0;&lt;", "<style>" * 100, "٣ كوب", "ﬀ", "ǆ" * 50, "red\ncup\tlamp",
        ]
    ),
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HOSTILE, st.integers(1, 100))
def test_no_text_makes_a_search_fail(
    plain: SearchDesk, whole: SearchDesk, query: str, k: int
) -> None:
    for desk in (plain, whole):
        answer = ask(desk, query, k=k)
        assert len(set(ids(answer))) == len(answer.slots) <= k
        assert [slot.position for slot in answer.slots] == list(range(1, len(answer.slots) + 1))
        again = Decoder(Prediction)(encode(answer))
        assert again.slots == answer.slots


def test_other_tasks_are_refused_unless_they_are_served(plain: SearchDesk) -> None:
    request = SearchRequest(request_id="r", visitor_id="v", query="red")
    assert plain.checked(request) is request
    with pytest.raises(InvalidEvent, match="no search that is served here; there are: search"):
        plain.checked(SearchRequest(request_id="r", visitor_id="v", query="red", task="other"))
