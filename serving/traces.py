"""The traces of requests that are being answered: from where one arrived to the record of it.

A trace context that a caller sent is passed on whether or not this process tells of its own part.
Of every other request nothing is kept, so that with tracing off an answer costs one look into an
empty table. Spans hold no ids and no texts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING

from core.settings import Settings
from core.trace_context import TRACEPARENT, sound
from schemas.predictions import RequestRecord

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from adapters.tracing import Kind, Tracing

Stage = Callable[[str, float], None]
_MOST_OPEN = 10_000


@dataclass
class Trace:
    """One request from outside: its context, its span where it is sampled, and its parts."""

    traceparent: bytes
    span: Span | None
    kept_ns: int = 0
    request_ids: list[str] = field(default_factory=list)
    parts: list[tuple[str, int, int]] = field(default_factory=list)


CURRENT: ContextVar[Trace | None] = ContextVar("trace", default=None)


class Traces:
    """Traces of requests by request id, while they are answered.

    Args:
        tracing: sends spans; None when tracing is off.
        stage: takes the seconds of each stage, traced or not.
    """

    def __init__(self, tracing: Tracing | None = None, stage: Stage | None = None) -> None:
        self._tracing = tracing
        self._stage = stage
        self._open: dict[str, Trace] = {}

    def close(self) -> None:
        """Sends the spans that are left, for two seconds at most."""
        if self._tracing is not None:
            self._tracing.close()

    def begin(self, name: str, kind: Kind, traceparent: bytes | None) -> Trace | None:
        """The trace of what arrived now; None when there is nothing to pass on or to tell."""
        parent = sound(traceparent)
        if self._tracing is None:
            return None if parent is None else Trace(parent, None)
        span = self._tracing.begin(name, kind, parent, time.time_ns())
        if span.is_recording():
            return Trace(self._tracing.header(span), span)
        return None if parent is None else Trace(parent, None)

    def keep(self, request_id: str, trace: Trace | None = None) -> None:
        """Ties a request to a trace, by default to that of the HTTP request being handled."""
        found = trace or CURRENT.get()
        if found is None or len(self._open) >= _MOST_OPEN:
            return
        found.kept_ns = time.time_ns()
        found.request_ids.append(request_id)
        self._open[request_id] = found

    def header(self, request_id: str) -> list[tuple[str, bytes]]:
        """What the record of an answer carries on."""
        trace = self._open.get(request_id) if self._open else None
        return [] if trace is None else [(TRACEPARENT, trace.traceparent)]

    def end(self, trace: Trace, attributes: dict[str, str | int] | None = None) -> None:
        """The request has been replied to: tells of it and of its parts."""
        for request_id in trace.request_ids:
            self._open.pop(request_id, None)
        if trace.span is None or self._tracing is None:
            return
        for name, from_ns, until_ns in trace.parts:
            self._tracing.whole(name, trace.traceparent, (from_ns, until_ns), {})
        trace.span.set_attributes(attributes or {})
        trace.span.end()

    def part(
        self, name: str, requests: Sequence[RequestRecord], arrived_s: float | None = None
    ) -> Part:
        """Times a stage of answering these requests, for the figures and for their traces.

        With `arrived_s` (performance counter) the time since then is their stage `queue`.
        """
        return Part(self, name, requests, arrived_s)

    def note(self, part: Part, began_ns: int, began_s: float) -> None:
        """Takes in a stage that has ended."""
        if self._stage is not None:
            self._stage(part.name, time.perf_counter() - began_s)
            if part.arrived_s is not None:
                self._stage("queue", began_s - part.arrived_s)
        if not self._open:
            return
        now_ns = time.time_ns()
        for request in part.requests:
            trace = self._open.get(request.request_id)
            if trace is None or trace.span is None:
                continue
            if part.arrived_s is not None:
                trace.parts.append(("queue", trace.kept_ns, began_ns))
            trace.parts.append((part.name, began_ns, now_ns))


class Part:
    """A stage of answering some requests, while it lasts."""

    def __init__(
        self,
        traces: Traces,
        name: str,
        requests: Sequence[RequestRecord],
        arrived_s: float | None,
    ) -> None:
        self.name, self.requests, self.arrived_s = name, requests, arrived_s
        self._traces = traces

    def __enter__(self) -> None:
        self._began_ns, self._began_s = time.time_ns(), time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._traces.note(self, self._began_ns, self._began_s)


def traces_of(settings: Settings, process: str, stage: Stage) -> Traces:
    """Traces as the operator has set them; raises BadSettings when an address is none."""
    if not settings.otlp:
        return Traces(None, stage)
    from adapters.tracing import Tracing

    return Traces(Tracing(settings, "shoploop-serving", process), stage)
