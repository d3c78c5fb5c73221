"""The state machine of alerts: raised once, cleared once, explained by others, exact restarts."""

from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.alert_rules import DAY_MS, HOUR_MS, RULES
from core.alerts import Alerts, Condition, Standing
from schemas.metrics import Alert

ROOT = Path(__file__).parents[2]


def condition(name: str, at_ms: int, active: bool = True, scope: str = "") -> Condition:
    return Condition(name=name, scope=scope, active=active, event_time_ms=at_ms, summary="bad")


CONDITIONS = st.lists(
    st.builds(
        condition,
        st.sampled_from(sorted(RULES)),
        st.integers(0, 40).map(lambda hours: hours * HOUR_MS // 2),
        st.booleans(),
        st.sampled_from(["", "home"]),
    ),
    max_size=80,
)
BATCHES = st.lists(CONDITIONS, max_size=8)


def said_of(batches: list[list[Condition]]) -> list[Alert]:
    alerts = Alerts("recommend")
    return [said for batch in batches for said in alerts.step(batch)]


@given(BATCHES)
def test_whatever_comes_raise_and_clear_take_turns(batches: list[list[Condition]]) -> None:
    said: dict[str, list[Alert]] = {}
    for alert in said_of(batches):
        said.setdefault(f"{alert.name}/{alert.scope}", []).append(alert)
    for alerts in said.values():
        news = [a for n, a in enumerate(alerts) if not lifted(alerts[:n], a)]
        states = [alert.state for alert in news]
        assert states == ["raised", "cleared"] * (len(news) // 2) + ["raised"] * (len(news) % 2)
        for before, after in pairwise(news):
            assert (before.alert_id == after.alert_id) == (after.state == "cleared")
            assert before.event_time_ms <= after.event_time_ms


def lifted(before: list[Alert], alert: Alert) -> bool:
    last = before[-1] if before else None
    return (
        last is not None
        and last.state == alert.state == "raised"
        and last.alert_id == alert.alert_id
        and bool(last.inhibited_by)
        and not alert.inhibited_by
    )


@given(BATCHES)
def test_nothing_is_said_twice_unchanged_and_a_replay_says_the_same(
    batches: list[list[Condition]],
) -> None:
    said = said_of(batches)
    assert said == said_of(batches)
    assert len({msgspec.json.encode(alert) for alert in said}) == len(said)


@given(CONDITIONS, st.randoms(use_true_random=False))
def test_the_order_within_one_step_does_not_matter(conditions: list[Condition], shuffler) -> None:
    shuffled = list(conditions)
    shuffler.shuffle(shuffled)
    assert said_of([conditions]) == said_of([shuffled])


@given(BATCHES)
def test_saved_state_goes_on_exactly(batches: list[list[Condition]]) -> None:
    whole, restarted = Alerts("recommend"), Alerts("recommend")
    for batch in batches:
        data = msgspec.msgpack.encode(restarted.state)
        state = msgspec.msgpack.decode(data, type=dict[str, Standing])
        restarted = Alerts("recommend", state)
        assert restarted.step(batch) == whole.step(batch)
        assert restarted.open() == whole.open()


def test_a_condition_must_last_before_it_is_raised() -> None:
    alerts = Alerts("recommend")
    assert alerts.step([condition("learning_frozen", 0)]) == []
    assert alerts.step([condition("learning_frozen", DAY_MS - 1)]) == []
    assert alerts.step([condition("learning_frozen", DAY_MS // 2, active=False)]) == []  # too old
    (raised,) = alerts.step([condition("learning_frozen", DAY_MS)])
    assert (raised.state, raised.raised_at_ms) == ("raised", DAY_MS)


def test_a_condition_must_be_gone_before_it_is_cleared() -> None:
    alerts = Alerts("recommend")
    alerts.step([condition("burst", 0)])
    assert alerts.step([condition("burst", 1, active=False)]) == []
    assert alerts.step([condition("burst", 2), condition("burst", 3, active=False)]) == []
    assert alerts.step([condition("burst", HOUR_MS + 2, active=False)]) == []
    (cleared,) = alerts.step([condition("burst", HOUR_MS + 3, active=False)])
    assert (cleared.state, cleared.raised_at_ms, cleared.event_time_ms) == (
        "cleared",
        0,
        HOUR_MS + 3,
    )


def test_an_explained_alert_is_on_record_and_said_again_when_the_explanation_is_over() -> None:
    alerts = Alerts("recommend")
    both = [condition("quality_fell", 1, scope="home"), condition("traffic_collapsed", 1)]
    first, second = alerts.step(both)
    assert (first.name, first.inhibited_by) == ("traffic_collapsed", [])
    assert (second.name, second.inhibited_by) == ("quality_fell", ["traffic_collapsed"])
    cleared, lifted_ = alerts.step(
        [
            condition("traffic_collapsed", 5, active=False),
            condition("quality_fell", 5, scope="home"),
        ]
    )
    assert (cleared.name, cleared.state) == ("traffic_collapsed", "cleared")
    assert (lifted_.alert_id, lifted_.state, lifted_.inhibited_by) == (
        second.alert_id,
        "raised",
        [],
    )
    assert alerts.step([condition("quality_fell", 6, scope="home")]) == []


def test_an_alert_that_is_over_while_explained_is_cleared_as_explained() -> None:
    alerts = Alerts("recommend")
    alerts.step([condition("traffic_collapsed", 1), condition("drifted", 1, scope="home")])
    (cleared,) = alerts.step([condition("drifted", 2, active=False, scope="home")])
    assert (cleared.state, cleared.inhibited_by) == ("cleared", ["traffic_collapsed"])


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_alert_has_its_section_in_the_runbook(name: str) -> None:
    lines = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8").splitlines()
    assert f"## {name}" in lines


def test_what_explains_an_alert_comes_before_it() -> None:
    names = list(RULES)
    for name, rule in RULES.items():
        assert all(names.index(by) < names.index(name) for by in rule.inhibited_by), name
