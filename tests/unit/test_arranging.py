"""Properties of the list's arrangement, of maximal marginal relevance and of exposure counters."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.arranging import Arrangement, Cap, arranged
from core.catalogue import Catalogue
from core.diversity import ItemLikeness, list_likeness, mmr
from core.exposure import Answer, ShareLimit


@st.composite
def pools(draw: st.DrawFn) -> tuple[list[int], int, dict[int, int], list[Cap]]:
    """An order of candidates, a length, pins and caps."""
    n = draw(st.integers(1, 30))
    order = draw(st.permutations(range(n)))
    k = draw(st.integers(1, 12))
    pinned = draw(st.lists(st.sampled_from(order), max_size=3, unique=True))
    places = draw(st.lists(st.integers(0, k - 1), max_size=3, unique=True))
    group = st.integers(-1, 3)
    caps = [
        Cap(draw(st.lists(group, min_size=n, max_size=n)), draw(st.integers(0, 3)))
        for _ in range(draw(st.integers(0, 2)))
    ]
    return order, k, dict(zip(places, pinned, strict=False)), caps


def _beyond(listed: list[int], caps: list[Cap]) -> int:
    """How many items of a list are beyond caps."""
    return sum(
        max(sum(cap.groups[one] == group for one in listed) - cap.most, 0)
        for cap in caps
        for group in range(4)
    )


@given(pools())
def test_every_candidate_stays_and_pins_stand_in_their_places(
    pool: tuple[list[int], int, dict[int, int], list[Cap]],
) -> None:
    order, k, pins, caps = pool
    found = arranged(order, k, pins, caps)
    assert sorted(found.order) == sorted(order)
    if len(order) >= k:
        for place, candidate in pins.items():
            assert found.order[place] == candidate
    assert set(found.order[:k]) >= set(pins.values())
    free = [one for one in order if one not in pins.values()]
    if not caps:
        assert [one for one in found.order if one not in pins.values()] == free


@given(pools())
def test_any_choice_keeps_the_caps_where_the_list_does_and_no_candidate_is_passed_over(
    pool: tuple[list[int], int, dict[int, int], list[Cap]],
) -> None:
    order, k, pins, caps = pool
    found = arranged(order, k, pins, caps)
    listed = found.order[:k]
    if not found.choices:
        return
    assert listed[found.place] == found.choices[0]
    assert found.choices[0] not in pins.values()
    assert len(set(found.choices)) == len(found.choices)
    within = _beyond(listed, caps) == _beyond(list(pins.values()), caps)
    for choice in found.choices:
        changed = [*listed]
        changed[found.place] = choice
        assert len(set(changed)) == len(changed)
        if within:
            assert _beyond(changed, caps) == _beyond(listed, caps)


@given(pools())
def test_what_may_be_drawn_does_not_depend_on_what_is_drawn(
    pool: tuple[list[int], int, dict[int, int], list[Cap]],
) -> None:
    order, k, pins, caps = pool
    found = arranged(order, k, pins, caps)

    def rest(one: Arrangement) -> list[int]:
        return [item for place, item in enumerate(one.order[:k]) if place != one.place]

    for choice in found.choices[1:3]:
        # The same candidates with this choice first among them: the others keep their places.
        first = order.index(found.choices[0])
        swapped = [one for one in order if one != choice]
        swapped.insert(min(first, len(swapped)), choice)
        again = arranged(swapped, k, pins, caps)
        if again.choices and again.choices[0] == choice:
            assert rest(again) == rest(found)
            if len(found.choices) < 20:
                assert set(again.choices) == set(found.choices)


@given(
    st.integers(1, 25),
    st.floats(0, 1),
    st.integers(0, 30),
    st.integers(0, 2**32 - 1),
)
def test_diversity_permutes_its_pool_and_zero_changes_nothing(
    n: int, diversity: float, picks: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    relevance = np.sort(random.normal(size=n))[::-1]
    vectors = np.abs(random.normal(size=(n, 4))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = vectors @ vectors.T
    found = mmr(relevance, likeness, diversity, picks)
    assert sorted(found) == list(range(n))
    assert found == mmr(relevance.copy(), likeness.copy(), diversity, picks)
    assert mmr(relevance, likeness, 0.0, picks) == list(range(n))


def test_lists_are_less_alike_on_average_the_more_diversity_is_asked_for() -> None:
    random = np.random.default_rng(5)
    catalogue, words = Catalogue(), ["RED", "BLUE", "CUP", "LAMP", "TIN", "BAG", "SET", "BOX"]
    for number in range(300):
        title = " ".join(random.choice(words, 3))
        category = f"C{random.integers(4)}/D{random.integers(3)}"
        catalogue.put(catalogue.row(f"i{number}"), title, 1.0, True, category=category)
    alike, steps = ItemLikeness(), (0.0, 0.25, 0.5, 0.75, 1.0)
    means = np.zeros(len(steps))
    for _ in range(40):
        rows = random.choice(300, 60, replace=False)
        likeness = alike.matrix(catalogue, rows)
        relevance = np.sort(random.normal(size=60))[::-1]
        for at, diversity in enumerate(steps):
            means[at] += list_likeness(likeness, mmr(relevance, likeness, diversity, 10)[:10]) / 40
    assert (np.diff(means) < 0).all()


def test_likeness_follows_a_changed_title_and_forgets_titles_beyond_its_bound() -> None:
    catalogue, alike = Catalogue(), ItemLikeness(most=4)
    for number in range(9):
        catalogue.put(catalogue.row(f"i{number}"), f"WORD{number}", None, True)
    rows = np.array([0, 1, 2])
    before = alike.matrix(catalogue, rows)
    assert np.allclose(before, before.T)
    catalogue.put(1, "WORD0", None, True)
    assert alike.matrix(catalogue, rows)[0, 1] > 0.99
    fresh = ItemLikeness()
    for start in range(6):
        some = np.arange(start, start + 3)
        assert np.allclose(alike.matrix(catalogue, some), fresh.matrix(catalogue, some))
    assert len(alike._vectors) <= 4


@given(
    st.floats(0.01, 0.9),
    st.integers(10, 200),
    st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=120),
)
def test_a_share_kept_to_is_never_exceeded(
    share: float, window: int, answers: list[tuple[int, int]]
) -> None:
    limit, one = ShareLimit(share, window), np.zeros(1, np.int64)
    faded_total, faded = 0.0, 0.0
    for shown, wanted in answers:
        answer = Answer(shown, 0)
        taken = int(min(wanted, shown, limit.room(one, answer)[0]))
        limit.add(np.zeros(taken, np.int64), answer)
        keep = 1 - 1 / window
        faded_total, faded = faded_total * keep + shown, faded * keep + taken
        assert faded <= share * faded_total + 1e-6
