"""Lag is the time since the state held all that its topics had then."""

from dataclasses import dataclass, field

from serving.staleness import Staleness

A, B = ("a", 0), ("b", 0)


@dataclass
class Reading:
    """Partitions whose ends and positions are set by hand."""

    at: dict[tuple[str, int], int] = field(default_factory=lambda: {A: 0, B: 0})
    end: dict[tuple[str, int], int] = field(default_factory=lambda: {A: 0, B: 0})

    def ends(self) -> dict[tuple[str, int], int]:
        return dict(self.end)

    def positions(self) -> dict[tuple[str, int], int]:
        return dict(self.at)


def test_lag_grows_while_a_partition_is_behind_and_falls_once_it_is_read() -> None:
    now = [0.0]
    reading, staleness = Reading(), Staleness(lambda: now[0])
    staleness.look(reading)
    reading.end[B] = 10
    for second in range(1, 11):
        now[0] = float(second)
        reading.at[A] = reading.end[A] = second
        staleness.look(reading)
    assert staleness.lag_s == 10.0
    reading.at[B] = 10
    now[0] = 11.0
    staleness.look(reading)
    assert staleness.lag_s == 0.0


def test_reader_that_follows_steady_traffic_a_moment_behind_does_not_lag() -> None:
    now = [0.0]
    reading, staleness = Reading(), Staleness(lambda: now[0])
    for step in range(200):
        now[0] = step * 0.1
        reading.end[A], reading.at[A] = 100 * step, 100 * max(step - 3, 0)
        staleness.look(reading)
        assert staleness.lag_s <= 1.5


def test_reader_that_falls_behind_ever_more_lags_ever_more() -> None:
    now = [0.0]
    reading, staleness = Reading(), Staleness(lambda: now[0])
    for step in range(1_000):
        now[0] = step * 0.1
        reading.end[A], reading.at[A] = 100 * step, 50 * step
        staleness.look(reading)
    assert 45.0 <= staleness.lag_s <= 55.0
