"""The streams of `bench drift` are what their definitions say, and are counted as it says."""

import math

import pytest

from bench.drift import summary
from bench.drift_learners import Run, settled
from bench.drift_streams import LENGTH, Stream, agrawal, circles, mixed, sine1


@pytest.mark.parametrize(
    ("source", "stretch"), [(sine1, 20_000), (mixed, 20_000), (circles, 25_000)]
)
def test_drifts_lie_where_published_and_classes_are_balanced(source, stretch) -> None:  # type: ignore[no-untyped-def]
    stream = source(3)
    assert stream.drifts == tuple(range(stretch, LENGTH, stretch))
    assert len(stream.features) == len(stream.labels) == LENGTH
    assert sum(stream.labels) / LENGTH == pytest.approx(0.5, abs=0.01)
    assert source(3) == stream


def test_sine1_is_reversed_and_one_label_in_ten_is_wrong() -> None:
    stream = sine1(1)
    agree = [
        (x["y"] < math.sin(x["x"])) == label
        for x, label in zip(stream.features, stream.labels, strict=True)
    ]
    assert sum(agree[:19_000]) / 19_000 == pytest.approx(0.9, abs=0.01)
    assert sum(agree[21_000:39_000]) / 18_000 == pytest.approx(0.1, abs=0.01)
    assert sum(agree[19_975:20_025]) / 50 == pytest.approx(0.5, abs=0.2)
    assert set(stream.features[0]) == {"x", "y"}


def test_mixed_has_two_truth_values_beside_two_numbers() -> None:
    stream = mixed(1)
    assert {x["v"] for x in stream.features} == {0.0, 1.0}
    assert set(stream.features[0]) == {"x", "y", "v", "w"}


def test_agrawal_follows_four_functions() -> None:
    stream = agrawal(1)
    assert stream.drifts == (25_000, 50_000, 75_000)
    young_or_old = [not 40 <= x["age"] < 60 for x in stream.features[:25_000]]
    assert young_or_old == stream.labels[:25_000]


def test_an_alarm_far_from_any_drift_is_false_and_a_second_one_too() -> None:
    stream = Stream([], [], drifts=(100,), width=10, within=50)
    assert settled([50, 89, 90, 120, 151], stream) == ([0], [50, 89, 120, 151])


def test_summary_means_delays_over_the_drifts_that_were_found() -> None:
    runs = [
        Run("s", "d", 2, delays=[10, 20], error=0.1),
        Run("s", "d", 2, delays=[30], false_alarms=[7], error=0.2),
    ]
    figures = summary(runs)
    assert (figures["detected"], figures["drifts"], figures["false_alarms"]) == (3, 4, 1)
    assert (figures["delay"], figures["error"]) == (20.0, 0.15)
