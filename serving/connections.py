"""How many connections are open, and which has to go when another one comes.

Without a bound, callers who say nothing would take every file that the process may open, those of
its spool and its state as well. Whoever has kept us waiting the longest goes first: for its
handshake, its head, its body, or its next question; of those who have had no answer yet, while
they hold more than half of the places. Who waits for us is never sent away. So callers who are slow
on purpose take places from each other. It knows no protocol.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Protocol

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

FILES_OF_OTHERS = 512
"""Files that a process keeps for all else: its state, its spool, Kafka."""
LEAST = 16
_SAID_EVERY_S = 60.0

log = logging.getLogger(__name__)


class Held(Protocol):
    """A connection."""

    def give_way(self) -> None:
        """Closes it for the sake of another."""


class Connections(Collector):
    """The open connections, for one event loop.

    Args:
        most: of them; for one more, another gives way.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._open: set[Held] = set()
        self._new: dict[Held, None] = {}  # quiet, without an answer yet; the longest first
        self._idle: dict[Held, None] = {}  # quiet since their last answer, or body; likewise
        self._gave_way = 0
        self._refused = 0
        self._said_s = float("-inf")

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    def add(self, held: Held) -> None:
        """One has come, and is to say something."""
        self._open.add(held)
        self._new[held] = None

    def busy(self, held: Held) -> None:
        """It has asked: it waits for us."""
        self._new.pop(held, None)
        self._idle.pop(held, None)

    def quiet(self, held: Held) -> None:
        """It has its reply: we wait for it."""
        if held in self._open:
            self.busy(held)
            self._idle[held] = None

    def remove(self, held: Held) -> None:
        """It is gone."""
        self._open.discard(held)
        self.busy(held)

    def has_room(self) -> bool:
        """Whether another may come, if need be in the place of the longest quiet one."""
        if len(self._open) < self.most:
            return True
        self._say()
        first = self._new if 2 * len(self._new) > self.most else self._idle or self._new
        longest = next(iter(first), None)
        if longest is None:
            self._refused += 1
            return False
        self.remove(longest)
        self._gave_way += 1
        longest.give_way()
        return True

    def collect(self) -> Iterator[Metric]:
        """The figures, as Prometheus takes them."""
        prefix = "shoploop_serving_connections"
        yield GaugeMetricFamily(prefix, "Connections that are open.", value=len(self._open))
        yield GaugeMetricFamily(f"{prefix}_limit", "At most.", value=self.most)
        ended = CounterMetricFamily(
            f"{prefix}_ended", "Ended at that limit: gave_way, refused.", labels=["reason"]
        )
        ended.add_metric(["gave_way"], self._gave_way)
        ended.add_metric(["refused"], self._refused)
        yield ended

    def _say(self) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s >= _SAID_EVERY_S:
            self._said_s = now_s
            log.warning("all %d connections are in use: the longest quiet go", self.most)


def most_of(wanted: int, files: int) -> int:
    """How many connections there may be where so many files may be open.

    >>> most_of(2_000, 1_024), most_of(2_000, 20_000)
    (512, 2000)
    """
    return max(LEAST, min(wanted, files - FILES_OF_OTHERS))
