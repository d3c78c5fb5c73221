"""The figures of a report, by hand and by property."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.replay_judge import JudgedRequest
from core.replay_tally import Tally
from core.report import Figures, paired_bootstrap

MARCH_MS = 1_298_937_600_000
WEEK_MS = 7 * 86_400_000


def request(number=0, surface="home", basket=("a", "b"), new=(), lists=None, at_ms=MARCH_MS):
    return JudgedRequest(
        request_id=f"r{number}",
        visitor_id=f"v{number % 3}",
        surface=surface,
        session_id=None,
        served_at_ms=at_ms,
        bought_before=frozenset(),
        lists={"loop": ["a"], "control": ["x"]} if lists is None else lists,
        basket=set(basket),
        new_basket=set(new),
    )


def test_hit_rate_and_recall_are_over_the_requests_with_a_basket():
    figures = Figures(["home"])
    figures.add([request(1), request(2, basket=["x"]), request(3, basket=[])])
    found = figures.as_report()["surfaces"]["home"]
    assert found["loop"] == {"hr10": 0.5, "recall10": 0.25, "n": 2}
    assert found["control"] == {"hr10": 0.5, "recall10": 0.5, "n": 2}


def test_discover_counts_only_requests_with_something_new():
    figures = Figures(["discover"])
    figures.add([request(1, "discover"), request(2, "discover", new=["a"])])
    assert figures.as_report()["surfaces"]["discover"]["loop"]["n"] == 1


def test_a_policy_without_a_list_is_missing_and_no_miss():
    figures = Figures(["home"])
    figures.add([request(1), request(2, lists={"loop": ["a"]})])
    report = figures.as_report()
    assert report["surfaces"]["home"]["control"]["n"] == 1
    assert report["surfaces"]["home"]["loop"]["n"] == 2
    (row,) = [
        row
        for row in report["comparisons"]
        if row["rival"] == "control" and row["metric"] == "hr10"
    ]
    assert row["n"] == 1


def test_only_the_first_ten_places_count():
    figures = Figures(["home"])
    figures.add([request(1, lists={"loop": [str(n) for n in range(10)] + ["a"]})])
    assert figures.as_report()["surfaces"]["home"]["loop"]["hr10"] == 0.0


def test_weeks_are_counted_apart_and_agree_with_the_running_tally():
    requests = [request(1), request(2, at_ms=MARCH_MS + WEEK_MS, basket=["x"])]
    figures, tally = Figures(["home"]), Tally()
    figures.add(requests)
    tally.add(requests)
    rows = [row for row in figures.as_report()["weekly"] if row["policy"] == "loop"]
    assert [(row["week"], row["hr10"]) for row in rows] == [
        ("2011-02-28", 1.0),
        ("2011-03-07", 0.0),
    ]
    assert [tally.rate("home", "loop", week) for week in tally.weeks()] == [1.0, 0.0]
    assert tally.rate("home", "loop") == 0.5


def test_the_bootstrap_resamples_customers_and_not_requests():
    differences = np.array([1.0] * 50 + [0.0] * 50)
    clustered = ["one"] * 50 + ["two"] * 50
    single = [str(number) for number in range(100)]
    wide = paired_bootstrap(differences, clustered, np.random.default_rng(1))
    narrow = paired_bootstrap(differences, single, np.random.default_rng(1))
    assert (wide["low"], wide["high"]) == (0.0, 1.0)
    assert narrow["high"] - narrow["low"] < 0.25


@given(st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 1.0]), st.sampled_from("abcde")), min_size=1))
def test_the_interval_holds_the_mean_of_the_resamples_and_stays_in_range(rows):
    differences = np.array([value for value, _ in rows])
    found = paired_bootstrap(differences, [who for _, who in rows], np.random.default_rng(3))
    assert found["difference"] == pytest.approx(differences.mean())
    assert -1.0 <= found["low"] <= found["high"] <= 1.0
    assert found["n"] == len(rows)
