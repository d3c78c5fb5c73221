"""Barriers: where they end, and before which events is asked."""

from hypothesis import given
from hypothesis import strategies as st

from core.replay_plan import Happened, Planner
from schemas.events import EventItem, ItemViewed, PurchaseMade, RefundMade

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS


def purchase(number, visitor, at_ms, session=None):
    event = PurchaseMade(
        event_id=f"e{number:04}",
        event_time_ms=at_ms,
        visitor_id=visitor,
        session_id=session,
        transaction_id=f"t{number}",
        items=[EventItem(item_id="i")],
    )
    return Happened(at_ms, event)


def view(number, visitor, at_ms, session=None):
    event = ItemViewed(
        event_id=f"e{number:04}",
        event_time_ms=at_ms,
        visitor_id=visitor,
        session_id=session,
        items=[EventItem(item_id="i")],
    )
    return Happened(at_ms, event)


def planner(*known, ask_before=("purchase",)):
    made = Planner(("home", "discover"), frozenset(ask_before), 2 * HOUR_MS)
    for number, visitor in enumerate(known):
        made.learn(purchase(9_000 + number, visitor, 0))
    return made


def asked(barriers):
    return [(ask.visitor_id, ask.as_of_ms) for barrier in barriers for ask in barrier.asks]


def test_only_known_visitors_ask_one_second_before():
    entries = [purchase(1, "known", 10 * HOUR_MS + 5_000), purchase(2, "new", 10 * HOUR_MS + 6_000)]
    barriers = list(planner("known").barriers(entries, HOUR_MS))
    assert asked(barriers) == [("known", 10 * HOUR_MS + 4_000)]
    assert set(barriers[0].asks[0].request_ids) == {"home", "discover"}


def test_one_visit_in_three_of_who_has_bought_opens_what_to_buy_again():
    entries = [purchase(n, "buyer", n * HOUR_MS, f"s{n}") for n in range(10, 310)]
    entries += [purchase(n, f"viewer{n}", n * HOUR_MS, f"s{n}") for n in range(310, 610)]
    made = Planner(("home", "buy_again"))
    made.learn(purchase(1, "buyer", 0))
    for number in range(310, 610):
        made.learn(view(1_000 + number, f"viewer{number}", 0))
    asks = [ask for barrier in made.barriers(entries, HOUR_MS) for ask in barrier.asks]
    again = [ask.visitor_id for ask in asks if "buy_again" in ask.request_ids]
    assert len(asks) == 600
    assert set(again) == {"buyer"}
    assert 75 <= len(again) <= 125


def test_a_visitor_known_by_a_refund_alone_is_not_asked():
    made = planner()
    refund = RefundMade(event_id="r", event_time_ms=0, visitor_id="v", transaction_id="t", items=[])
    made.learn(Happened(0, refund))
    assert asked(made.barriers([purchase(1, "v", 10 * HOUR_MS)], HOUR_MS)) == []


def test_purchases_of_one_session_ask_once_also_across_a_barrier():
    entries = [
        purchase(1, "v", 12 * HOUR_MS - 3 * MINUTE_MS, "s"),
        purchase(2, "v", 12 * HOUR_MS + 3 * MINUTE_MS, "s"),
    ]
    assert len(asked(planner("v").barriers(entries, HOUR_MS))) == 1


def test_spans_in_which_nothing_happens_get_no_barrier():
    entries = [purchase(1, "v", 10 * HOUR_MS), purchase(2, "v", 90 * HOUR_MS)]
    barriers = list(planner("v").barriers(entries, HOUR_MS))
    assert [barrier.number for barrier in barriers] == [0, 1]
    assert barriers[0].end_ms == 12 * HOUR_MS - 1 == barriers[1].start_ms


def test_a_barrier_ends_before_a_visitor_met_in_it_asks():
    entries = [
        purchase(1, "new", 10 * HOUR_MS, "a"),
        purchase(2, "new", 10 * HOUR_MS + 30 * MINUTE_MS, "b"),
    ]
    barriers = list(planner().barriers(entries, HOUR_MS))
    assert len(barriers) == 2
    assert asked(barriers) == [("new", 10 * HOUR_MS + 30 * MINUTE_MS - 1_000)]


def test_other_events_ask_only_when_they_are_named():
    entries = [view(1, "v", 10 * HOUR_MS)]
    assert asked(planner("v").barriers(entries, HOUR_MS)) == []
    wanted = planner("v", ask_before=("view_item", "purchase"))
    assert len(asked(wanted.barriers(entries, HOUR_MS))) == 1


def test_without_sessions_a_visitor_asks_once_a_barrier():
    entries = [view(1, "v", 10 * HOUR_MS), view(2, "v", 10 * HOUR_MS + MINUTE_MS)]
    wanted = planner("v", ask_before=("view_item",))
    assert len(asked(wanted.barriers(entries, HOUR_MS))) == 1


times = st.lists(st.integers(HOUR_MS + 5, HOUR_MS + 40 * HOUR_MS), min_size=1, max_size=60)


@given(times, st.randoms())
def test_barriers_hold_every_entry_once_and_leave_room_for_answers(at, random):
    entries = [
        purchase(number, random.choice("abcd"), at_ms) for number, at_ms in enumerate(sorted(at))
    ]
    barriers = list(planner("a", "b").barriers(entries, HOUR_MS))
    assert [entry for barrier in barriers for entry in barrier.entries] == entries
    begin_ms = HOUR_MS
    for barrier in barriers:
        assert barrier.start_ms == begin_ms
        for entry in barrier.entries:
            assert barrier.start_ms < entry.at_ms <= barrier.end_ms
        at_of = {entry.event.event_id: entry.at_ms for entry in barrier.entries}
        for ask in barrier.asks:
            assert barrier.start_ms < ask.as_of_ms < at_of[ask.event_id] - 1
        begin_ms = barrier.end_ms
