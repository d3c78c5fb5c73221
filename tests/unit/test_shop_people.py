"""Histories follow their shopper: through logins, new keys, and the wish not to be known."""

from hypothesis import given, settings
from hypothesis import strategies as st

from core.shop_people import Person, meet, person_of
from core.shop_state import ShopState
from schemas.events import Consent, Formerly, Searched

_NAMES = st.sampled_from(["a", "b", "c", "d"])
_USERS = st.sampled_from([None, "ann", "bob"])
_PEOPLE = st.builds(
    Person,
    _NAMES,
    _USERS,
    st.lists(_NAMES, max_size=2),
    st.lists(st.sampled_from(["ann", "old-ann"]), max_size=1),
    st.booleans(),
)
_STORY = st.lists(st.tuples(_PEOPLE, st.lists(st.sampled_from("xyz"), min_size=1, max_size=3)))


def told(story: list[tuple[Person, list[str]]]) -> ShopState:
    state = ShopState(max_cooccurrence_items=16)
    for at_ms, (person, items) in enumerate(story, start=1):
        known = meet(state, person)
        state.apply(person.visitor_id, "purchase", items if known else [], at_ms * 1_000_000)
    return state


def gram(state: ShopState) -> list[list[float]]:
    size = state.cooccurrence.size
    return state.cooccurrence.gram[:size, :size].tolist()


def test_a_second_device_knows_the_user_after_its_login() -> None:
    state = told([(Person("phone"), ["mug"]), (Person("phone", "ann"), ["tea"])])
    meet(state, Person("laptop", "ann"))
    assert state.history("laptop") == ["mug", "tea"]
    state.apply("laptop", "purchase", ["cup"], 9_000_000)
    assert state.history("phone") == ["mug", "tea", "cup"]


def test_a_shared_device_does_not_carry_one_user_into_the_other() -> None:
    state = told([(Person("tablet", "ann"), ["mug"]), (Person("tablet", "bob"), ["tea"])])
    assert state.history("tablet") == ["tea"]
    meet(state, Person("phone", "ann"))
    assert state.history("phone") == ["mug"]


def test_a_new_key_keeps_the_history_and_the_login() -> None:
    state = told([(Person("k1.v", "k1.u"), ["mug"]), (Person("k1.w"), ["tea"])])
    meet(state, Person("k2.v", "k2.u", ["k1.v"], ["k1.u"]))
    meet(state, Person("k2.w", None, ["k1.w"]))
    assert state.history("k2.v") == state.history("k1.v") == ["mug"]
    assert state.history("k2.w") == ["tea"]
    meet(state, Person("k3.w", "k3.u", ["k1.w", "k2.w"], ["k1.u", "k2.u"]))
    assert state.history("k3.w") == ["mug", "tea"]


def test_a_visitor_id_that_looks_like_a_user_reaches_nobody() -> None:
    state = told([(Person("phone", "ann"), ["mug"])])
    assert state.history("user:ann") == []


def test_who_refuses_personalisation_is_forgotten() -> None:
    state = told([(Person("v"), ["mug"]), (Person("v", personal=False), ["tea"])])
    assert state.history("v") == []
    assert not state.knows("v")
    assert state.popularity.window(1_000_000, 7)[0] == 1.0
    assert state.seen_ms == 2_000_000


def test_the_person_of_an_event() -> None:
    event = Searched(
        event_id="e",
        event_time_ms=1,
        visitor_id="k2.v",
        user_id="k2.u",
        query="mug",
        consent=Consent(personalisation=False),
        formerly=Formerly(visitor_ids=["k1.v"], user_ids=["k1.u"]),
    )
    assert person_of(event) == Person("k2.v", "k2.u", ["k1.v"], ["k1.u"], False)


@given(_STORY)
@settings(max_examples=60)
def test_any_story_ends_and_goes_on_from_its_snapshot(
    story: list[tuple[Person, list[str]]],
) -> None:
    state = told(story)
    again = ShopState.from_bytes(state.to_bytes())
    assert again.to_bytes() == state.to_bytes()
    for each in (state, again):
        meet(each, Person("a", "ann", ["b"]))
        each.apply("b", "purchase", ["x"], 99_000_000)
    assert again.history("a") == state.history("a")
    assert gram(again) == gram(state)


@given(_STORY)
@settings(max_examples=60)
def test_no_contribution_is_left_of_histories_that_were_joined_or_dropped(
    story: list[tuple[Person, list[str]]],
) -> None:
    state = told(story)
    for name in list(state.visitors):
        state.drop(name)
    assert not any(map(any, gram(state)))
