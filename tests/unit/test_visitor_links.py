"""Facts under two pseudonyms come together as if they had always been under one."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from join_factory import DAY_MS, HOUR_MS, START_MS, WINDOWS, answer, click, purchase, refund

from core.join import close, step
from core.verdict import judged_of
from core.visitor_facts import Visitor
from core.visitor_links import note_consent, take_over
from schemas.events import Consent, Formerly, Searched, ShopEvent
from schemas.predictions import Prediction

_HOURS = st.integers(1, 20).map(lambda hour: START_MS + hour * HOUR_MS)
_FACTS = st.lists(
    st.one_of(
        st.builds(lambda n, at: answer(f"p{n}", at), st.integers(0, 3), _HOURS),
        st.builds(lambda n, at: purchase(f"o{n}", at, "ab"), st.integers(0, 3), _HOURS),
        st.builds(lambda n, at: click(f"c{n}", at, "b", "p1"), st.integers(0, 3), _HOURS),
        st.builds(lambda n, at: refund(f"r{n}", at, f"o{n}"), st.integers(0, 3), _HOURS),
    ),
    unique_by=lambda fact: getattr(fact, "event_id", None) or getattr(fact, "prediction_id", ""),
    max_size=8,
)


def of(facts: list[Prediction | ShopEvent]) -> Visitor:
    visitor = Visitor()
    for fact in facts:
        step(visitor, fact, WINDOWS, 0)
    return visitor


def first(session: str | None = None, **changes: object) -> Searched:
    event = Searched(event_id="s", event_time_ms=9, visitor_id="k2.v", query="", session_id=session)
    return msgspec.structs.replace(event, **changes)


@given(_FACTS, st.data())
def test_verdicts_do_not_tell_that_facts_were_apart(
    facts: list[Prediction | ShopEvent], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(facts)))
    visitor, former = of(facts[cut:]), of(facts[:cut])
    take_over(visitor, former, first(formerly=Formerly(visitor_ids=["k1.v"])))
    end_ms = START_MS + 3 * DAY_MS
    found, wanted = close(visitor, end_ms, WINDOWS), close(of(facts), end_ms, WINDOWS)
    assert found.verdicts == wanted.verdicts
    assert sorted(found.dropped) == sorted(wanted.dropped)
    assert visitor.bought == of(facts).bought


def test_a_session_that_spans_the_new_key_stays_one() -> None:
    former = of([answer("p1", START_MS, session="k1.s")])
    visitor = of([purchase("o1", START_MS + HOUR_MS, "a", session="k2.s")])
    take_over(visitor, former, first("k2.s", formerly=Formerly(session_ids=["k1.s"])))
    (verdict,) = [
        v for v in close(visitor, START_MS + DAY_MS, WINDOWS).verdicts if v.age == "final"
    ]
    assert verdict.basket == ["a"]


def test_the_newest_consent_stands_and_moves_with_the_facts() -> None:
    visitor, former = Visitor(), Visitor()
    note_consent(former, first(event_time_ms=5, consent=Consent(training=False)))
    note_consent(former, first(event_time_ms=4, consent=Consent()))
    assert not former.learns
    take_over(visitor, former, first())
    assert not visitor.learns
    note_consent(visitor, first(event_time_ms=6, consent=Consent()))
    assert visitor.learns


def test_without_consent_an_answer_is_measured_and_not_learned_from() -> None:
    served, bought = answer(), purchase("o1", START_MS + HOUR_MS)
    visitor = of([served, bought])
    note_consent(visitor, first(consent=Consent(training=False)))
    (verdict,) = [
        v for v in close(visitor, START_MS + DAY_MS, WINDOWS).verdicts if v.age == "final"
    ]
    judged = judged_of(served, verdict)
    assert judged.labels == [1, 0, 0]
    assert judged.features == []
    assert judged_of(served, msgspec.structs.replace(verdict, learns=True)).features != []
