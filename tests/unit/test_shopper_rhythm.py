"""How often and how lately a shopper takes an item, and which baskets are like theirs."""

import numpy as np
import pytest

from core.candidates import Ask, gather
from core.features import FEATURE_NAMES
from core.popularity import DAY_MS
from core.recent_baskets import KEPT_BASKETS, RecentBaskets
from core.shop_state import ShopState
from core.visitor_history import VISIT_DECAY, VisitorHistory


def _rows(*rows: int) -> np.ndarray:
    return np.array(rows, np.int64)


def _visits(*visits: tuple[int, tuple[int, ...]]) -> VisitorHistory:
    history = VisitorHistory()
    for day, rows in visits:
        history.add(_rows(*rows), 1.0, True, day * DAY_MS)
    return history


def _feature(state: ShopState, visitor: str, item: str, name: str) -> float:
    found = gather(state, Ask(visitor, "home", 20 * DAY_MS), None)
    return float(found.features[found.item_ids.index(item), FEATURE_NAMES.index(name)])


def test_a_count_fades_with_every_visit_without_the_item() -> None:
    history = _visits((1, (0, 1)), (2, (0,)), (3, (0,)))
    expected = [1 + VISIT_DECAY + VISIT_DECAY**2, VISIT_DECAY**2]
    assert history.faded(_rows(0, 1)).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("first", [True, False])
def test_joined_histories_have_the_rhythm_of_one_shopper(first: bool) -> None:
    early = [(1, (0, 1)), (2, (1,))]
    late = [(3, (0, 2)), (4, (2,))]
    whole = _visits(*early, *late)
    kept, other = (_visits(*early), _visits(*late)) if first else (_visits(*late), _visits(*early))
    kept.take_in(other)
    where = [kept.rows.tolist().index(row) for row in whole.rows.tolist()]
    assert kept.first_visit[where].tolist() == whole.first_visit.tolist()
    assert kept.last_visit[where].tolist() == whole.last_visit.tolist()
    everything = np.arange(len(whole.rows))
    assert kept.faded(np.array(where)).tolist() == pytest.approx(whole.faded(everything).tolist())


def test_an_item_of_every_visit_has_a_higher_rate_than_one_taken_once() -> None:
    state = ShopState()
    for day in range(1, 6):
        state.apply("ann", "purchase", ["tea", f"once{day}"], day * DAY_MS)
    assert _feature(state, "ann", "tea", "own_rate") > _feature(state, "ann", "once1", "own_rate")
    lately = [_feature(state, "ann", f"once{day}", "own_visits_ago") for day in range(1, 6)]
    assert lately == sorted(lately)
    assert lately[-1] == 1.0


def test_baskets_like_the_shoppers_bring_what_else_is_in_them() -> None:
    state = ShopState()
    state.apply("ann", "purchase", ["tea"], DAY_MS)
    state.apply("bob", "purchase", ["tea", "cup"], 15 * DAY_MS)
    state.apply("cy", "purchase", ["hat", "cap"], 15 * DAY_MS)
    assert _feature(state, "ann", "cup", "like_baskets") > 0
    assert _feature(state, "ann", "hat", "like_baskets") == 0


def test_a_shoppers_own_baskets_are_not_like_theirs_whoever_they_are_linked_to() -> None:
    recent = RecentBaskets()
    recent.add("old name", _rows(0, 1))
    wanted = np.ones(2, np.float32)
    assert recent.scores("ann", wanted).tolist() == [1.0, 1.0]
    recent.rename("old name", "ann")
    assert recent.scores("ann", wanted).tolist() == [0.0, 0.0]


def test_a_forgotten_shoppers_baskets_are_gone_and_old_ones_leave() -> None:
    recent = RecentBaskets()
    recent.add("ann", _rows(0))
    recent.forget("ann")
    assert recent.to_list() == []
    for row in range(KEPT_BASKETS + 1):
        recent.add("bob", _rows(row))
    assert len(recent.to_list()) == KEPT_BASKETS
    assert recent.to_list()[0][1].tolist() == [1]


def test_recent_baskets_survive_a_snapshot_of_the_state() -> None:
    state = ShopState()
    state.apply("ann", "purchase", ["tea"], DAY_MS)
    state.apply("bob", "purchase", ["tea", "cup"], 2 * DAY_MS)
    again = ShopState.from_bytes(state.to_bytes())
    ask = Ask("ann", "home", 3 * DAY_MS)
    assert again.to_bytes() == state.to_bytes()
    assert np.array_equal(gather(again, ask, None).features, gather(state, ask, None).features)
