"""Histories in few bytes, the mapping that keeps the rest on a shelf, and a full block of items."""

from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from core.catalogue import Rows
from core.history_packing import held_bytes, packed_history, unpacked_history
from core.popularity import DAY_MS
from core.shop_people import Person, meet
from core.shop_state import ShopState
from core.tiered import Form, Tiered
from core.visitor_history import VisitorHistory

_KINDS = ("purchase", "add_to_cart", "view_item")
_VISITS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 3_000_000), min_size=1, max_size=9, unique=True),
        st.sampled_from([1.0, 0.5, 0.1]),
        st.booleans(),
        st.integers(0, 10**13),
    ),
    max_size=20,
)
_STORY = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from(_KINDS),
        st.lists(st.sampled_from([f"i{n}" for n in range(9)]), min_size=1, max_size=4),
        st.integers(0, 60 * DAY_MS),
    ),
    max_size=40,
)
HISTORIES = Form(packed_history, unpacked_history, held_bytes)
NAMES = Form(str.encode, bytes.decode, len)


class Books:
    """A shelf in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, bytes] = {}
        self.packed: list[tuple[str, bytes | None]] = []

    def get(self, name: str) -> bytes | None:
        return self.rows.get(name)

    def names(self) -> Iterator[str]:
        return iter(self.rows)

    def take(self, mapping: Tiered, most: int = 3) -> None:
        """One checkpoint."""
        mapping.begin()
        self.finish(mapping, most)

    def finish(self, mapping: Tiered, most: int = 3) -> None:
        while some := mapping.pack(most):
            self.packed.extend(some)
        for name, data in self.packed:
            if data is None:
                self.rows.pop(name, None)
            else:
                self.rows[name] = data
        self.packed = []
        mapping.end()


def _facts(visitor: VisitorHistory) -> dict[str, object]:
    return {
        name: (value.dtype, value.tolist()) if isinstance(value, np.ndarray) else value
        for name, value in visitor.to_dict().items()
    }


def _history(visits: list[tuple[list[int], float, bool, int]]) -> VisitorHistory:
    history = VisitorHistory()
    for rows, weight, bought, at_ms in visits:
        history.add(np.array(rows, np.int64), weight, bought, at_ms)
        history.price(np.array([1.5, np.nan], np.float32))
    history.related = len(visits) * 10**10
    return history


@given(_VISITS, _VISITS)
@settings(max_examples=80)
def test_a_packed_history_is_the_history(
    mine: list[tuple[list[int], float, bool, int]],
    other: list[tuple[list[int], float, bool, int]],
) -> None:
    history = _history(mine)
    history.take_in(_history(other))
    again = unpacked_history(packed_history(history))
    assert _facts(again) == _facts(history)
    for each in (history, again):
        each.add(np.array([5, 7]), 1.0, True, 10**13)
    assert _facts(again) == _facts(history)


def test_a_long_history_is_packed_without_loss() -> None:
    history = VisitorHistory()
    for start in range(0, 900, 9):
        rows = np.arange(start, start + 9)
        history.add(rows, 0.1 + start, start % 2 == 0, start * DAY_MS)
    assert _facts(unpacked_history(packed_history(history))) == _facts(history)


def test_fifty_items_over_a_year_take_less_than_seven_hundred_bytes() -> None:
    random, history = np.random.default_rng(1), VisitorHistory()
    rows = random.choice(100_000, 50, replace=False)
    times = np.sort(random.integers(0, 365 * DAY_MS, 50)) + 1_700_000_000_000
    for row, at_ms in zip(rows, times.tolist(), strict=True):
        kind = int(random.integers(3))
        history.add(np.array([row]), (1.0, 0.5, 0.1)[kind], kind == 0, at_ms)
    assert len(packed_history(history)) <= 700


_ACTS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "get", "drop", "begin", "pack", "finish", "restart"]),
        st.sampled_from("abcdefgh"),
        st.integers(0, 99),
    ),
    max_size=60,
)


@given(_ACTS)
@settings(max_examples=200)
def test_the_mapping_is_a_dict_whatever_lies_on_the_shelf(acts: list[tuple[str, str, int]]) -> None:
    books, plain = Books(), dict[str, str]()
    saved, begun = dict(plain), None
    tiered = Tiered(books, NAMES, room_bytes=3)
    for act, name, number in acts:
        if act == "put":
            plain[name] = tiered[name] = str(number)
        elif act == "drop":
            assert plain.pop(name, None) == tiered.pop(name, None)
        elif act == "begin" and begun is None:
            tiered.begin()
            begun = dict(plain)
        elif act == "pack" and begun is not None:
            books.packed += tiered.pack(1)
        elif act == "finish" and begun is not None:
            books.finish(tiered)
            saved, begun = begun, None
            assert {n: d.decode() for n, d in books.rows.items()} == saved
        elif act == "restart":
            plain, begun, books.packed = dict(saved), None, []
            tiered = Tiered(books, NAMES, room_bytes=3, count=len(books.rows))
        assert tiered.get(name) == plain.get(name)
        assert len(tiered) == len(plain)
        assert dict(tiered.items()) == plain


def test_what_is_clean_and_not_used_leaves_memory() -> None:
    books = Books()
    tiered = Tiered(books, NAMES, room_bytes=4)
    for number in range(50):
        tiered[f"v{number}"] = "x"
    assert (tiered.held, tiered.changed) == (50, 50)
    books.take(tiered)
    assert tiered.held <= 4
    assert all(tiered[f"v{number}"] == "x" for number in range(50))
    assert tiered.held <= 4


class _Former(ShopState):
    """Relates as the state did that never gave a slot to another item."""

    def _relate(self, visitor: VisitorHistory, rows: Rows) -> None:
        for row in rows[self.slot_of[rows] < 0]:
            self._admit(int(row))
        slots = self.slot_of[visitor.rows]
        weights = self._gram_weights(visitor)
        inside = slots >= 0
        self.cooccurrence.replace(slots[inside], visitor.gram_weights[inside], weights[inside])
        visitor.gram_weights = weights


def _told(state: ShopState, story: list[tuple[str, str, list[str], int]]) -> ShopState:
    for at, (visitor, kind, items, at_ms) in enumerate(story):
        state.apply(visitor, kind, items, at_ms)
        if at % 7 == 3:
            meet(state, Person(visitor, "ann" if visitor < "c" else None))
        if at % 11 == 5:
            state.drop(visitor)
    return state


def test_before_the_block_is_full_scores_are_what_they_were() -> None:
    random = np.random.default_rng(4)
    story = [
        (
            f"v{random.integers(40)}",
            _KINDS[random.integers(3)],
            [f"i{n}" for n in random.zipf(1.3, 8) % 400],
            int(random.integers(60 * DAY_MS)),
        )
        for _ in range(1_500)
    ]
    ours, former = _told(ShopState(), story), _told(_Former(), story)
    assert np.array_equal(ours.cooccurrence.gram, former.cooccurrence.gram)
    for _ in range(50):
        rows = random.choice(len(ours.catalogue), 20, replace=False)
        weights = random.random(20).astype(np.float32)
        scores = ours.cooccurrence_scores(rows, weights)
        assert np.array_equal(scores, former.cooccurrence_scores(rows, weights))


@given(_STORY)
@settings(max_examples=80)
def test_a_full_block_holds_what_was_put_in_since_each_item_came(
    story: list[tuple[str, str, list[str], int]],
) -> None:
    state = _told(ShopState(max_cooccurrence_items=4), story)
    block, wanted = state.cooccurrence, np.zeros((4, 4), np.float32)
    for visitor in state.visitors.values():
        slots, weights = state._contribution(visitor)
        wanted[slots[:, None], slots] += np.multiply.outer(weights, weights)
    assert np.array_equal(
        block.gram[: block.size, : block.size], wanted[: block.size, : block.size]
    )
    assert np.array_equal(block.squares, block.gram.diagonal())
    again = ShopState.from_bytes(state.to_bytes())
    assert np.array_equal(again.cooccurrence.gram, block.gram)


@given(_STORY, st.lists(st.integers(0, 40), max_size=5))
@settings(max_examples=80)
def test_a_state_on_a_shelf_answers_as_one_in_memory(
    story: list[tuple[str, str, list[str], int]], checkpoints: list[int]
) -> None:
    books, names = Books(), Books()
    visitors = Tiered(books, HISTORIES, room_bytes=3_000)
    owners = Tiered(names, NAMES, room_bytes=3)
    ours = ShopState(max_cooccurrence_items=4, visitors=visitors, owners=owners)
    plain = ShopState(max_cooccurrence_items=4)
    for at in range(len(story)):
        _told(ours, story[at : at + 1])
        _told(plain, story[at : at + 1])
        if at % 5 == 2:
            for each in (ours, plain):
                meet(each, Person(story[at][0], "ann"))
        if at in checkpoints:
            books.take(visitors)
            names.take(owners)
    assert {n: _facts(v) for n, v in ours.visitors.items()} == {
        n: _facts(v) for n, v in plain.visitors.items()
    }
    assert dict(ours.owners) == dict(plain.owners)
    assert np.array_equal(ours.cooccurrence.gram, plain.cooccurrence.gram)


def test_a_history_left_untouched_for_too_long_is_no_longer_known() -> None:
    state = ShopState(history_ms=30 * DAY_MS)
    state.apply("ann", "purchase", ["mug"], DAY_MS)
    state.apply("bob", "purchase", ["tea"], 31 * DAY_MS)
    assert state.history("ann") == ["mug"]
    state.apply("bob", "purchase", ["cup"], 31 * DAY_MS + 1)
    assert (state.history("ann"), state.knows("ann")) == ([], False)
    state.apply("ann", "purchase", ["pot"], 32 * DAY_MS)
    assert state.history("ann") == ["pot"]
