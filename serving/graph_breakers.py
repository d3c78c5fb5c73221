"""Circuits of the graphs that read words: one that keeps failing is left alone for a while.

For each task one circuit a graph; another version begins anew. While it is open, answers are those
of a graph that has just failed, without its being asked. In a replay none works.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core.circuit import Circuit, Rule, State, allows, observed

ENCODER, CROSS, TEXTS = "encoder_failed", "cross_failed", "texts_failed"
GRAPH_CIRCUITS = (ENCODER, CROSS, TEXTS)
_RULE = Rule(strikes=3, passes=3, hold_ms=2_000)
_BY_URGENCY: tuple[State, ...] = ("closed", "half_open", "open")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Graph:
    """Which graph: the circuit's name, the task, and whose it is."""

    circuit: str
    task: str
    version: str


class GraphBreakers:
    """Used by the workers of searches and of texts, each with circuits of its own.

    Args:
        in_replay: whether wall time must not change an answer.
        clock: milliseconds that only grow.
    """

    def __init__(
        self,
        in_replay: Callable[[], bool] = lambda: False,
        clock: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._in_replay = in_replay
        self._clock = clock
        self._circuits: dict[tuple[str, str], tuple[str, Circuit]] = {}
        self._opened = dict.fromkeys(GRAPH_CIRCUITS, 0)

    def allows(self, graph: Graph) -> bool:
        """Whether the graph is to be asked now."""
        return self._in_replay() or allows(self._of(graph), self._clock())

    def told(self, graph: Graph, *, good: bool) -> None:
        """Whether it gave an answer."""
        if self._in_replay():
            return
        before = self._of(graph)
        after = observed(before, _RULE, good, self._clock())
        self._circuits[graph.circuit, graph.task] = (graph.version, after)
        if after.state != before.state:
            self._opened[graph.circuit] += after.state == "open"
            text = "circuit %s of %s: %s, was %s"
            log.warning(text, graph.circuit, graph.version, after.state, before.state)

    def standing(self) -> Iterator[tuple[str, State, int]]:
        """Each circuit's name, its worst state over the tasks, and how often it has opened."""
        for name in GRAPH_CIRCUITS:
            states = [
                circuit.state
                for (of, _), (_, circuit) in list(self._circuits.items())
                if of == name
            ]
            yield name, max(states, key=_BY_URGENCY.index, default="closed"), self._opened[name]

    def _of(self, graph: Graph) -> Circuit:
        version, circuit = self._circuits.get((graph.circuit, graph.task), ("", Circuit()))
        return circuit if version == graph.version else Circuit()
