"""When events reach the state: at once in live time, in order as barriers close in replay."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.events import EventItem, EventWatermark, PurchaseMade
from schemas.watermarks import Watermark
from serving.merge import EventMerge

EVENTS, ANSWERS = "events.valid", "predictions"


def _merge(partitions: int = 2) -> EventMerge:
    merge = EventMerge()
    merge.expect(EVENTS, range(partitions))
    return merge


def _event(at_ms: int, name: str = "e") -> PurchaseMade:
    return PurchaseMade(
        event_id=name,
        event_time_ms=at_ms,
        visitor_id="v",
        transaction_id="t",
        items=[EventItem(item_id="a")],
    )


def _mark(at_ms: int, *, run: str = "run", final: bool = False) -> EventWatermark:
    return EventWatermark(event_time_ms=at_ms, barrier=at_ms, run_id=run, final=final)


def test_live_events_come_out_at_once_in_event_time() -> None:
    merge = _merge()
    merge.add(_event(20, "b"))
    merge.add(_event(10, "c"))
    merge.add(_event(20, "a"))
    assert [each.event_id for each in merge.take()] == ["c", "a", "b"]
    assert merge.take() == []


def test_live_events_newer_than_the_limit_wait() -> None:
    merge = _merge()
    merge.add(_event(10))
    merge.add(_event(20))
    assert [each.event_time_ms for each in merge.take(15)] == [10]
    assert [each.event_time_ms for each in merge.take(None)] == [20]


def test_barrier_closes_when_every_partition_has_passed_it() -> None:
    merge = _merge()
    merge.mark(EVENTS, 0, _mark(10))
    merge.add(_event(5))
    assert merge.take() == []
    merge.mark(EVENTS, 1, _mark(10))
    merge.add(_event(11))
    assert [each.event_time_ms for each in merge.take()] == [5]
    assert merge.closed == _mark(10)


def test_barrier_waits_for_the_second_topic() -> None:
    merge = _merge(1)
    merge.expect(ANSWERS, range(1))
    merge.mark(EVENTS, 0, _mark(10))
    merge.add(_event(5))
    assert merge.take() == []
    merge.mark(ANSWERS, 0, Watermark(event_time_ms=10, barrier=10, run_id="run"))
    assert len(merge.take()) == 1


def test_final_watermark_flushes_and_time_is_live_again() -> None:
    merge = _merge(1)
    merge.mark(EVENTS, 0, _mark(10))
    merge.add(_event(99))
    merge.mark(EVENTS, 0, _mark(20, final=True))
    assert len(merge.take()) == 1
    assert not merge.in_replay
    merge.add(_event(100))
    assert len(merge.take()) == 1


def test_repeated_watermark_of_a_run_that_ended_changes_nothing() -> None:
    merge = _merge(1)
    merge.mark(EVENTS, 0, _mark(20, final=True))
    merge.take()
    merge.mark(EVENTS, 0, _mark(20, final=True))
    assert not merge.in_replay


def test_runs_do_not_mix() -> None:
    merge = _merge(2)
    merge.mark(EVENTS, 0, _mark(10, run="new"))
    merge.mark(EVENTS, 1, _mark(90, run="old"))
    merge.add(_event(5))
    assert merge.take() == []
    merge.mark(EVENTS, 1, _mark(10, run="new"))
    assert len(merge.take()) == 1


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2)), max_size=40), st.randoms())
def test_order_of_arrival_does_not_matter_in_replay(
    events: list[tuple[int, int]], random: object
) -> None:
    def taken(order: list[tuple[int, int, str]]) -> list[str]:
        merge = _merge(1)
        merge.mark(EVENTS, 0, _mark(0))
        for at_ms, _, name in order:
            merge.add(_event(at_ms, name))
        merge.mark(EVENTS, 0, _mark(30))
        first = [each.event_id for each in merge.take()]
        merge.mark(EVENTS, 0, _mark(60, final=True))
        return [*first, "|", *(each.event_id for each in merge.take())]

    named = [(at_ms, part, f"e{index}") for index, (at_ms, part) in enumerate(events)]
    shuffled = list(named)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert taken(named) == taken(shuffled)
