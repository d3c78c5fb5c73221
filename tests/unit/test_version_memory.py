"""What is let go for a version is as little as must be, and never what stays."""

from hypothesis import given
from hypothesis import strategies as st

from core.version_memory import Claim, Held, make_room

versions = st.lists(st.tuples(st.integers(0, 50), st.sampled_from(Claim)), max_size=6).map(
    lambda rows: [Held(str(place), size, claim) for place, (size, claim) in enumerate(rows)]
)


@given(versions, st.integers(0, 100), st.integers(0, 200))
def test_what_is_let_go_makes_the_version_fit_and_nothing_that_stays_goes(
    held: list[Held], size: int, budget: int
) -> None:
    gone = make_room(held, size, budget)
    staying = sum(each.size_bytes for each in held if each.claim is Claim.STAYS)
    if gone is None:
        assert staying + size > budget
        return
    kept = [each for each in held if each.name not in gone]
    assert sum(each.size_bytes for each in kept) + size <= budget
    assert all(each.claim is not Claim.STAYS for each in held if each.name in gone)


@given(versions, st.integers(0, 100), st.integers(0, 200))
def test_no_version_goes_while_one_with_a_weaker_claim_or_longer_unused_is_kept(
    held: list[Held], size: int, budget: int
) -> None:
    gone = make_room(held, size, budget) or []
    order = [each.name for each in sorted(held, key=lambda one: one.claim)]
    assert gone == order[: len(gone)]
    if gone:
        without_last = {each.name: each.size_bytes for each in held if each.name not in gone[:-1]}
        assert sum(without_last.values()) + size > budget
