"""The circuits of a process: what it does not rely on in its answers, and for how long.

Three look at ages, once a second: of the state behind its topics, of the champion and of the ranker
weights. Two listen whether the champion's graph computes, and how soon; those of the graphs that
read words are `serving/graph_breakers.py`'s. None works in a replay,
where wall time must not change an answer. They decide nothing about requests: `serving/desk.py`
asks, and `core/degrading.py` says what an open circuit takes out of an answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from adapters.clock import wall_ms
from core.circuit import Circuit, Rule, allows, observed
from core.degrading import (
    CIRCUITS,
    MODEL_FAILED,
    OLD_MODEL,
    OLD_WEIGHTS,
    SLOW_MODEL,
    STALE_STATE,
)
from core.settings import Settings
from serving.engine import Engine
from serving.graph_breakers import GraphBreakers
from serving.state import Live

LOOK_MS = 1_000
_AGES = Rule(strikes=3, passes=3)
_FAILURES = Rule(strikes=3, passes=3, hold_ms=2_000)

log = logging.getLogger(__name__)


class Breakers(Collector):
    """Circuits by name; a name is what `degraded` says while its circuit is open.

    Args:
        settings: the limits; 0 for none.
        live: what they look at.
        clock: milliseconds that only grow.
    """

    def __init__(
        self,
        settings: Settings,
        live: Live,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._live = live
        self._clock = clock
        self.graphs = GraphBreakers(lambda: live.merge.in_replay, clock)
        self._limits = {
            STALE_STATE: settings.state_lag_ms,
            OLD_MODEL: settings.model_age_ms,
            OLD_WEIGHTS: settings.weights_age_ms,
        }
        self._slow_ms = settings.model_slow_ms
        self._circuits = {name: Circuit() for name in CIRCUITS}
        self._opened = dict.fromkeys(self._circuits, 0)
        self._looked_ms = 0

    def open(self, engine: Engine) -> tuple[str, ...]:
        """The names of those that are open now; called before each batch."""
        if self._live.merge.in_replay:
            return ()
        now_ms = self._clock()
        if now_ms - self._looked_ms >= LOOK_MS:
            self._looked_ms = now_ms
            self._look(now_ms, engine)
        by_age = [name for name in self._limits if self._circuits[name].state != "closed"]
        tried = (MODEL_FAILED, SLOW_MODEL)
        shut = [name for name in tried if not allows(self._circuits[name], now_ms)]
        return (*by_age, *shut)

    def computed(self, good: bool, took_ms: float = 0.0) -> None:
        """Whether the champion's graph gave an answer to a batch, and how long the batch took."""
        if self._live.merge.in_replay:
            return
        now_ms = self._clock()
        self._observe(MODEL_FAILED, _FAILURES, good, now_ms)
        if self._slow_ms:
            self._observe(SLOW_MODEL, _FAILURES, took_ms <= self._slow_ms, now_ms)

    def collect(self) -> Iterator[Metric]:
        """The figures, as Prometheus takes them."""
        is_open = GaugeMetricFamily(
            "shoploop_serving_circuit_open",
            "Whether answers go without what this speaks of; 0.5 while it is tried again.",
            labels=["circuit"],
        )
        opened = CounterMetricFamily(
            "shoploop_serving_circuit_opened", "How often it has opened.", labels=["circuit"]
        )
        own = [(name, each.state, self._opened[name]) for name, each in self._circuits.items()]
        for name, state, times in (*own, *self.graphs.standing()):
            is_open.add_metric([name], {"closed": 0.0, "half_open": 0.5, "open": 1.0}[state])
            opened.add_metric([name], times)
        yield is_open
        yield opened
        yield GaugeMetricFamily(
            "shoploop_serving_state_lag_seconds",
            "Since when the state has not held all that its topics had.",
            value=self._live.staleness.lag_s,
        )

    def describe(self) -> list[Metric]:
        """Nothing beforehand: names are known when they are collected."""
        return []

    def _look(self, now_ms: int, engine: Engine) -> None:
        ages_ms = self._ages_ms(engine)
        for name, limit_ms in self._limits.items():
            age_ms = ages_ms.get(name)
            self._observe(name, _AGES, not limit_ms or age_ms is None or age_ms <= limit_ms, now_ms)

    def _ages_ms(self, engine: Engine) -> dict[str, float]:
        """Only of what there is: without a model or weights nothing is old."""
        found = {STALE_STATE: 1e3 * self._live.staleness.lag_s}
        if engine.champion is not None:
            found[OLD_MODEL] = wall_ms() - engine.champion.manifest.trained_at_ms
        if self._live.weights_at_ms:
            found[OLD_WEIGHTS] = wall_ms() - self._live.weights_at_ms
        return found

    def _observe(self, name: str, rule: Rule, good: bool, now_ms: int) -> None:
        before = self._circuits[name]
        after = self._circuits[name] = observed(before, rule, good, now_ms)
        if after.state == before.state:
            return
        self._opened[name] += after.state == "open"
        log.warning("circuit %s: %s, was %s", name, after.state, before.state)
