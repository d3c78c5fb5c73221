"""Event time of a partition by barriers and live, and the merge of its inputs."""

from hypothesis import given
from hypothesis import strategies as st

from core.watermarks import Mark, Merge, clock

SOURCES = ("events", "predictions")


def mark(at_ms: int, barrier: int = 0, run: str = "run", final: bool = False) -> Mark:
    return Mark(at_ms, barrier, run, final)


def test_a_barrier_passes_when_every_source_has_shown_it() -> None:
    each = clock(SOURCES)
    assert each.mark("events", mark(10)) is None
    assert each.mark("predictions", mark(10)) == mark(10)
    assert each.watermark_ms == 10


def test_the_slower_source_says_what_has_passed() -> None:
    each = clock(SOURCES)
    each.mark("events", mark(10, 1))
    each.mark("events", mark(20, 2))
    assert each.mark("predictions", mark(10, 1)) == mark(10, 1)
    assert each.mark("predictions", mark(20, 2)) == mark(20, 2)


def test_repeated_barriers_pass_once() -> None:
    each = clock(SOURCES)
    for source in SOURCES:
        each.mark(source, mark(10))
    assert [each.mark(source, mark(10)) for source in SOURCES] == [None, None]


def test_the_final_barrier_returns_to_live_time() -> None:
    each = clock(SOURCES)
    for source in SOURCES:
        each.mark(source, mark(10, final=True))
    assert not each.by_barriers
    assert [each.mark(source, mark(10, final=True)) for source in SOURCES] == [None, None]
    assert not each.by_barriers


def test_another_run_begins_anew() -> None:
    each = clock(SOURCES)
    for source in SOURCES:
        each.mark(source, mark(100, final=True))
    each.mark("events", mark(10, run="next"))
    assert each.mark("predictions", mark(10, run="next")) == mark(10, run="next")


def test_live_time_is_the_slower_active_source_less_the_lateness() -> None:
    each = clock(SOURCES)
    each.saw("events", 1_000, wall_ms=0)
    each.saw("predictions", 500, wall_ms=0)
    assert each.live(1, lateness_ms=10, idle_ms=100, near_ms=0) == 490


def test_an_idle_source_does_not_hold_live_time_back() -> None:
    each = clock(SOURCES)
    each.saw("predictions", 500, wall_ms=0)
    each.saw("events", 1_000, wall_ms=90)
    assert each.live(150, lateness_ms=10, idle_ms=100, near_ms=0) == 990


def test_wall_time_moves_a_quiet_partition_that_is_near_it() -> None:
    each = clock(SOURCES)
    each.saw("events", 1_000, wall_ms=1_000)
    assert each.live(2_000, lateness_ms=10, idle_ms=100, near_ms=5_000) == 1_890
    assert each.live(9_000, lateness_ms=10, idle_ms=100, near_ms=8_000) == 8_890


def test_wall_time_does_not_move_a_partition_of_the_past() -> None:
    each = clock(SOURCES)
    each.saw("events", 1_000, wall_ms=900_000)
    assert each.live(990_000, lateness_ms=10, idle_ms=100, near_ms=5_000) == 990


@given(st.lists(st.tuples(st.sampled_from(SOURCES), st.integers(0, 50), st.integers(0, 50))))
def test_live_time_never_goes_back(seen: list[tuple[str, int, int]]) -> None:
    each = clock(SOURCES)
    before, wall_ms = -1, 0
    for source, at_ms, pause_ms in seen:
        wall_ms += pause_ms
        each.saw(source, at_ms, wall_ms)
        after = each.live(wall_ms, lateness_ms=5, idle_ms=20, near_ms=100)
        assert after >= before
        before = after


@given(st.lists(st.tuples(st.integers(0, 9), st.text("ab", min_size=1, max_size=2))), st.data())
def test_the_merge_gives_one_order_whatever_the_arrival(
    inputs: list[tuple[int, str]], data: st.DataObject
) -> None:
    arrived = data.draw(st.permutations(inputs))
    merge: Merge[tuple[int, str]] = Merge()
    for at_ms, name in arrived:
        merge.put(at_ms, name, (at_ms, name))
    taken = [each for upto in range(10) for _, each in merge.take(upto)]
    assert taken == sorted(inputs)
    assert len(merge) == 0
