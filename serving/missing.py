"""What a process does without because its disk refuses, for health and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class Missing(Collector):
    """By the name of each part, whether it is missing now."""

    def __init__(self, parts: Mapping[str, Callable[[], bool]]) -> None:
        self._parts = parts

    @property
    def names(self) -> list[str]:
        """Those that are missing."""
        return [name for name, is_missing in self._parts.items() if is_missing()]

    def collect(self) -> Iterator[Metric]:
        """The figures, as Prometheus takes them."""
        found = GaugeMetricFamily(
            "shoploop_serving_disk_missing",
            "1 while the disk refuses what this speaks of: spool, state, repeats.",
            labels=["part"],
        )
        for name, is_missing in self._parts.items():
            found.add_metric([name], float(is_missing()))
        yield found
