"""A visitor stage whose outcomes carry on the traces of the answers that they judge.

It looks at headers before the stage steps and at outcomes after it; the stage knows nothing of it.
Where tracing is off there is no such thing around the stage, so the join costs what it did. A trace
is kept, in memory and in the store, until the last judgement of its answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from adapters.tracing import Tracing
from core.settings import Settings
from core.trace_context import TRACEPARENT, is_sampled, traceparent_of
from schemas import topics
from streams.stage import Names, Record, Stage
from streams.store import Changes, Out, Store
from streams.warm import Warm

TRACE = "trace"
FINAL = "final"
_MOST_IN_MEMORY = 50_000


class _Judged(msgspec.Struct):
    prediction_id: str
    age: str


_judged = msgspec.json.Decoder(_Judged).decode


@dataclass
class _Rows:
    """Traces of open answers in one partition."""

    number: int
    store: Store
    fresh: dict[str, bytes] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    known: Warm[bytes] = field(default_factory=lambda: Warm[bytes](_MOST_IN_MEMORY))

    def of(self, name: str) -> bytes | None:
        if name in self.gone:
            return None
        found = self.fresh.get(name) or self.known.get(name)
        return found or self.store.get((self.number, TRACE, name))

    def forget(self, name: str) -> None:
        if self.fresh.pop(name, None) is None:
            self.known.drop(name)
            self.gone.add(name)

    def checkpoint(self, changes: Changes) -> None:
        for name, value in self.fresh.items():
            changes.put((self.number, TRACE, name), value)
            self.known.put(name, value)
        for name in self.gone:
            changes.delete((self.number, TRACE, name))
        self.fresh.clear()
        self.gone.clear()
        self.known.turn()


class TracedStage:
    """The stage it is given, with traces."""

    def __init__(self, stage: Stage, settings: Settings, tracing: Tracing) -> None:
        self._stage = stage
        self._tracing = tracing
        self.process, self.short, self.inputs = stage.process, stage.short, stage.inputs
        self.gather_s, self.journaled = stage.gather_s, stage.journaled
        names = Names(settings)
        self._predictions = names.full(topics.PREDICTIONS)
        self._outcomes = names.full(topics.OUTCOMES)
        self._rows: dict[int, _Rows] = {}

    def load(self, store: Store, partitions: list[int]) -> None:
        """Takes up the partitions as the store has them; others are let go."""
        self._rows = {number: _Rows(number, store) for number in partitions}
        self._stage.load(store, partitions)

    def step(self, records: list[Record], wall_ms: int, live: bool) -> Changes:
        """Works through a batch, then gives its outcomes the traces of their answers."""
        for record in records:
            if record.topic() == self._predictions:
                self._keep(record)
        began_ns = time.time_ns()
        changes = self._stage.step(records, wall_ms, live)
        for out in changes.outs:
            if out.topic == self._outcomes:
                self._carry(out, began_ns, live)
        return changes

    def checkpoint(self, changes: Changes) -> Iterator[None]:
        """What has changed since the last one, traces included."""
        for rows in self._rows.values():
            rows.checkpoint(changes)
        return self._stage.checkpoint(changes)

    def changed(self) -> int:
        """About how many rows the next checkpoint would write."""
        return self._stage.changed()

    def closed(self) -> dict[int, int]:
        """How far event time is closed, by partition."""
        return self._stage.closed()

    def repeat(self, until: dict[int, int]) -> None:
        """Lets live time pass as far as an earlier owner did."""
        self._stage.repeat(until)

    def counters(self) -> dict[str, float]:
        """Counts and gauges for `/metrics`."""
        return self._stage.counters()

    def _keep(self, record: Record) -> None:
        headers = record.headers()
        traceparent = traceparent_of(headers)
        if traceparent is None or not is_sampled(traceparent):
            return
        name = dict(headers).get("ce_id")
        if name:
            self._rows[record.partition()].fresh[name.decode()] = traceparent

    def _carry(self, out: Out, began_ns: int, live: bool) -> None:
        judged = _judged(out.value or b"")
        rows = self._rows[out.source]
        traceparent = rows.of(judged.prediction_id)
        if traceparent is None:
            return
        if live:
            times_ns = began_ns, time.time_ns()
            said = {"shoploop.label_age": judged.age}
            traceparent = self._tracing.whole("judge", traceparent, times_ns, said)
        out.headers.append((TRACEPARENT, traceparent))
        if judged.age == FINAL:
            rows.forget(judged.prediction_id)


def traced(stage: Stage, settings: Settings) -> TracedStage:
    """The stage with traces, sent as the operator has set it; raises BadSettings."""
    return TracedStage(stage, settings, Tracing(settings, "shoploop-streams", stage.process))
