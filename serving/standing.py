"""What stands at the moment somebody asks: versions and weights in use, state, build.

It is gathered at each scrape from what the process holds, so it costs an answer nothing.
"""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from adapters.clock import wall_ms
from serving.library import Library
from serving.state import Live
from serving.versions import SHADOW_ROLES

ROLES = ("champion", "canary", *SHADOW_ROLES[1:])
NO_ROLE = "none"


class Standing(Collector):
    """Gathers gauges of a process's versions and state."""

    def __init__(self, library: Library, live: Live) -> None:
        self._library = library
        self._live = live

    def collect(self) -> Iterator[Metric]:
        """The figures, as Prometheus takes them."""
        yield self._versions()
        yield self._weights()
        yield from self._memory()
        yield from self._changes()
        yield from self._state()
        yield _info("shoploop_build_info", "The version of shoploop.", "version", _build())

    def describe(self) -> list[Metric]:
        """Nothing beforehand: names are known when they are collected."""
        return []

    def _by_role(self) -> dict[str, str]:
        engine = self._live.versions.engine
        held = {role: getattr(engine, role) for role in ROLES}
        return {role: loaded.version for role, loaded in held.items() if loaded is not None}

    def _versions(self) -> Metric:
        found = GaugeMetricFamily(
            "shoploop_serving_model_info", "Versions in use.", labels=["role", "version"]
        )
        for role, name in self._by_role().items():
            found.add_metric([role, name], 1.0)
        return found

    def _weights(self) -> Metric:
        found = GaugeMetricFamily(
            "shoploop_serving_weights_info",
            "Ranker weights in use beside those that versions shipped with.",
            labels=["surface", "version"],
        )
        for surface, weights in self._live.versions.engine.live.items():
            found.add_metric([surface, weights.version], 1.0)
        return found

    def _memory(self) -> Iterator[Metric]:
        roles = {name: role for role, name in reversed(self._by_role().items())}
        by_role: dict[str, int] = {}
        for name, size in self._library.sizes.items():
            role = roles.get(name, NO_ROLE)
            by_role[role] = by_role.get(role, 0) + size
        found = GaugeMetricFamily(
            "shoploop_serving_versions_bytes",
            "Estimated memory of loaded versions; role none is kept for a rollback.",
            labels=["role"],
        )
        for role, size in by_role.items():
            found.add_metric([role], size)
        yield found
        yield GaugeMetricFamily(
            "shoploop_serving_versions_budget_bytes",
            "Memory that loaded versions may take.",
            value=self._library.budget_bytes,
        )

    def _changes(self) -> Iterator[Metric]:
        versions = self._live.versions
        yield CounterMetricFamily(
            "shoploop_serving_swaps", "Champions swapped in since the start.", value=versions.swaps
        )
        found = CounterMetricFamily(
            "shoploop_serving_versions_refused",
            "Versions refused, by the reason on model_log; weights: ranker weights passed over.",
            labels=["reason"],
        )
        for reason, count in list(versions.refused.items()):
            found.add_metric([reason], count)
        yield found

    def _state(self) -> Iterator[Metric]:
        live = self._live
        yield GaugeMetricFamily(
            "shoploop_serving_ready", "1 once the state is read.", value=float(live.ready)
        )
        age_s = max(wall_ms() - live.state.seen_ms, 0) / 1e3 if live.state.seen_ms else 0.0
        yield GaugeMetricFamily(
            "shoploop_serving_state_age_seconds",
            "Wall time since the newest event applied; 0 before the first.",
            value=age_s,
        )
        yield GaugeMetricFamily(
            "shoploop_serving_state_waiting", "Events read, not applied.", value=live.merge.waiting
        )
        yield CounterMetricFamily(
            "shoploop_serving_state_events", "Events applied.", value=live.applied
        )
        yield CounterMetricFamily(
            "shoploop_serving_state_refused", "Records passed over.", value=live.refused
        )
        yield GaugeMetricFamily(
            "shoploop_serving_shoppers", "Shoppers known.", value=len(live.state.visitors)
        )
        yield GaugeMetricFamily(
            "shoploop_serving_shoppers_in_memory",
            "Shoppers in memory; the others are on disk.",
            value=live.shoppers_in_memory,
        )
        yield GaugeMetricFamily(
            "shoploop_serving_items", "Items of the catalogue.", value=len(live.state.catalogue)
        )


def _info(name: str, documentation: str, label: str, value: str) -> Metric:
    found = GaugeMetricFamily(name, documentation, labels=[label])
    found.add_metric([value], 1.0)
    return found


def _build() -> str:
    try:
        return version("shoploop")
    except PackageNotFoundError:
        return "unknown"
