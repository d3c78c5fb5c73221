"""The join gives one answer for repeated and reordered inputs, however often it is closed."""

from hypothesis import given
from hypothesis import strategies as st
from join_factory import DAY_MS, HOUR_MS, START_MS, WINDOWS, answer, cart, click, purchase, refund

from core.attribution import listing_of, verdict_of
from core.join import close, next_due, step
from core.verdict import Verdict
from core.visitor_facts import Visitor
from schemas.events import ShopEvent
from schemas.predictions import Prediction

END_MS = START_MS + 2 * DAY_MS
Record = Prediction | ShopEvent
offsets = st.integers(0, 6).map(lambda step_: step_ * HOUR_MS // 2)
items = st.text("abcd", min_size=1, max_size=3)
tokens = st.sampled_from([None, "p0", "p1", "p2", "nobody"])


@st.composite
def histories(draw: st.DrawFn) -> list[Record]:
    records: list[Record] = []
    for number in range(draw(st.integers(0, 3))):
        arm = draw(st.sampled_from(["champion", "shadow", "fallback"]))
        letters = "".join(dict.fromkeys(draw(items)))
        records.append(answer(f"p{number}", START_MS + draw(offsets), letters, arm=arm))
    for number in range(draw(st.integers(0, 5))):
        at_ms = START_MS + draw(offsets)
        make = draw(st.sampled_from([purchase, click, cart]))
        records.append(make(f"e{number}", at_ms, draw(items), token=draw(tokens)))
    for number in range(draw(st.integers(0, 2))):
        at_ms = START_MS + draw(offsets)
        records.append(refund(f"f{number}", at_ms, f"e{draw(st.integers(0, 4))}", draw(items)))
    return records


def at_once(records: list[Record]) -> list[Verdict]:
    visitor = Visitor()
    for record in records:
        step(visitor, record, WINDOWS, 0)
    return close(visitor, END_MS, WINDOWS).verdicts


@given(histories(), st.randoms(use_true_random=False))
def test_order_and_repeats_change_nothing(records: list[Record], chance: object) -> None:
    again = [*records, *records]
    chance.shuffle(again)  # type: ignore[attr-defined]
    assert at_once(again) == at_once(records)


def event_time(record: Record) -> int:
    return record.served_at_ms if isinstance(record, Prediction) else record.event_time_ms


@given(histories())
def test_closing_step_by_step_gives_what_closing_at_the_end_gives(records: list[Record]) -> None:
    visitor, verdicts = Visitor(), []
    for record in sorted(records, key=event_time):
        closed = event_time(record) - 1
        verdicts += close(visitor, closed, WINDOWS).verdicts
        verdicts += step(visitor, record, WINDOWS, closed).verdicts
    verdicts += close(visitor, END_MS, WINDOWS).verdicts
    assert verdicts == at_once(records)


@given(histories(), st.randoms(use_true_random=False))
def test_the_newest_version_of_late_inputs_says_what_in_time_inputs_say(
    records: list[Record], chance: object
) -> None:
    late = list(records)
    chance.shuffle(late)  # type: ignore[attr-defined]
    visitor = Visitor()
    newest: dict[str, Verdict] = {}
    versions: list[tuple[str, int]] = []
    closed = 0
    for record in late:
        outputs = [step(visitor, record, WINDOWS, closed)]
        closed = START_MS + DAY_MS + HOUR_MS
        outputs.append(close(visitor, closed, WINDOWS))
        for verdict in [each for output in outputs for each in output.verdicts]:
            newest[verdict.prediction_id] = verdict
            versions.append((verdict.prediction_id, verdict.version))
    for verdict in close(visitor, END_MS, WINDOWS).verdicts:
        newest[verdict.prediction_id] = verdict
        versions.append((verdict.prediction_id, verdict.version))
    assert len(set(versions)) == len(versions)
    expected = {each.prediction_id: each for each in at_once(records)}
    assert {name: facts(each) for name, each in newest.items()} == {
        name: facts(each) for name, each in expected.items()
    }


def facts(verdict: Verdict) -> tuple[object, ...]:
    slots = [
        (slot.item_id, slot.kind, slot.at_ms, slot.revenue, slot.attributed)
        for slot in verdict.slots
    ]
    return slots, verdict.basket, verdict.new_basket


@given(histories())
def test_each_answer_is_final_once(records: list[Record]) -> None:
    finals = [each.prediction_id for each in at_once(records) if each.age == "final"]
    answers = [each.prediction_id for each in records if isinstance(each, Prediction)]
    assert sorted(finals) == sorted(answers)


@given(histories())
def test_next_due_is_when_close_has_something_to_do(records: list[Record]) -> None:
    visitor = Visitor()
    for record in records:
        step(visitor, record, WINDOWS, 0)
    rounds = 0
    while (due := next_due(visitor, WINDOWS)) is not None:
        rounds += 1
        assert rounds < 100
        before = close(visitor, due - 1, WINDOWS)
        assert (before.verdicts, before.dropped, before.orphans) == ([], [], 0)
        close(visitor, due, WINDOWS)
    assert (visitor.answers, visitor.orders, visitor.waiting) == ({}, [], {})


@given(histories())
def test_an_index_of_who_lists_what_changes_no_verdict(records: list[Record]) -> None:
    visitor = Visitor()
    for record in records:
        step(visitor, record, WINDOWS, 0)
    answers = visitor.answers.values()
    listing = listing_of(answers)
    for each in answers:
        without = verdict_of(visitor, each, END_MS, WINDOWS)
        assert verdict_of(visitor, each, END_MS, WINDOWS, listing=listing) == without
