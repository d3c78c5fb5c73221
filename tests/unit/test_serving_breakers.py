"""Circuits of a process: open while the state is stale or the model fails, then closed again."""

import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from core.settings import Settings
from serving.breakers import Breakers
from serving.engine import Engine

SETTINGS = Settings(state_lag_ms=10_000, model_age_ms=1_000, weights_age_ms=0, model_slow_ms=50)
STALE = ("stale_state",)


@dataclass
class _Merge:
    in_replay: bool = False


@dataclass
class _Staleness:
    lag_s: float = 0.0


@dataclass
class _Live:
    merge: _Merge = field(default_factory=_Merge)
    staleness: _Staleness = field(default_factory=_Staleness)
    weights_at_ms: int = 1


@dataclass
class _Shop:
    """A live state with a lag, and a clock."""

    live: _Live = field(default_factory=_Live)
    now_ms: int = 10_000

    def __post_init__(self) -> None:
        live: Any = self.live
        self.breakers = Breakers(SETTINGS, live, lambda: self.now_ms)

    def reasons(self, seconds: int, lag_s: float) -> list[tuple[str, ...]]:
        """Which circuits are open, second by second."""
        self.live.staleness.lag_s = lag_s
        found = []
        for _ in range(seconds):
            self.now_ms += 1_000
            found.append(self.breakers.open(Engine()))
        return found


def test_stale_state_opens_after_three_looks_and_closes_after_it_has_caught_up() -> None:
    shop = _Shop()
    assert shop.reasons(3, lag_s=11.0) == [(), (), STALE]
    assert shop.reasons(10, lag_s=0.5) == [STALE] * 6 + [()] * 4


def test_replay_is_never_judged_by_wall_time() -> None:
    shop = _Shop()
    shop.live.merge.in_replay = True
    assert shop.reasons(10, lag_s=100.0) == [()] * 10


def test_failing_model_is_left_alone_then_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    shop = _Shop()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert shop.breakers.open(Engine()) == ()
            shop.breakers.computed(good=False)
    assert shop.breakers.open(Engine()) == ("model_failed",)
    shop.now_ms += 2_000
    assert shop.breakers.open(Engine()) == ()
    for _ in range(3):
        shop.breakers.computed(good=True)
    shop.breakers.computed(good=False)
    assert shop.breakers.open(Engine()) == ()
    assert [record.message for record in caplog.records] == [
        "circuit model_failed: open, was closed",
        "circuit model_failed: half_open, was open",
        "circuit model_failed: closed, was half_open",
    ]


def test_slow_model_is_left_alone_then_tried_again() -> None:
    shop = _Shop()
    for took_ms in (51.0, 49.0, 51.0, 51.0, 51.0):
        assert shop.breakers.open(Engine()) == ()
        shop.breakers.computed(good=True, took_ms=took_ms)
    assert shop.breakers.open(Engine()) == ("slow_model",)
    shop.now_ms += 2_000
    assert shop.breakers.open(Engine()) == ()
    shop.breakers.computed(good=True, took_ms=60.0)
    shop.now_ms += 2_000
    assert shop.breakers.open(Engine()) == ("slow_model",)


def test_circuits_show_on_metrics() -> None:
    shop = _Shop()
    registry = CollectorRegistry()
    registry.register(shop.breakers)
    shop.reasons(5, lag_s=20.0)
    value = registry.get_sample_value
    assert value("shoploop_serving_circuit_open", {"circuit": "stale_state"}) == 1.0
    assert value("shoploop_serving_circuit_open", {"circuit": "model_failed"}) == 0.0
    assert value("shoploop_serving_circuit_opened_total", {"circuit": "stale_state"}) == 1.0
    assert value("shoploop_serving_state_lag_seconds") == 20.0
