"""What a served search teaches: chosen products, and those passed over on the way to them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.search_skipped import GRADES, LARGEST_WEIGHT, taught

slots = st.lists(
    st.tuples(st.sampled_from([None, *GRADES]), st.floats(0.0, 1.0)), min_size=1, max_size=12
)


@given(slots)
def test_nothing_below_the_last_chosen_slot_is_taught(rows) -> None:
    kinds = [kind for kind, _ in rows]
    found = taught([str(i) for i in range(len(rows))], kinds, [chance for _, chance in rows])
    chosen = [-1, *(i for i, kind in enumerate(kinds) if kind)]
    assert [one.item_id for one in found] == [str(i) for i in range(chosen[-1] + 1)]
    assert all(1.0 <= one.weight <= LARGEST_WEIGHT for one in found)


def test_a_purchase_is_worth_more_than_a_click_and_a_skip_nothing() -> None:
    found = taught(["a", "b", "c"], [None, "select_item", "purchase"], [1.0, 1.0, 1.0])
    assert [one.grade for one in found] == [0.0, 1.0, 3.0]


def test_a_purchase_taken_back_is_no_sign_either_way() -> None:
    found = taught(["a", "b"], ["retracted", "view_item"], [1.0, 1.0])
    assert [one.item_id for one in found] == ["b"]
