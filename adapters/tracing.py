"""OpenTelemetry spans, sent by OTLP over HTTP from a thread of their own; nothing waits for them.

Import it only where tracing is on: that takes a fifth of a second. It knows what a span is called;
never an id of a shopper, a request or an item, nor what somebody searched for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    set_span_in_context,
)

from core.settings import Settings, redacted
from schemas.errors import BadSettings

Attributes = Mapping[str, str | int | float | bool]
Kind = Literal["server", "consumer", "internal"]
_KINDS = {"server": SpanKind.SERVER, "consumer": SpanKind.CONSUMER, "internal": SpanKind.INTERNAL}
_WAITING_SPANS = 4_096
_SPANS_AT_ONCE = 512
_SEND_EVERY_MS = 1_000
_SENT_WITHIN_S = 2.0


class Tracing:
    """Begins spans of one process and sends those that are sampled."""

    def __init__(self, settings: Settings, service: str, process: str) -> None:
        check(settings)
        address = settings.otlp.rstrip("/") + "/v1/traces"
        exporter = OTLPSpanExporter(address, timeout=_SENT_WITHIN_S)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.trace_ratio)),
            resource=Resource({"service.name": service, "service.instance.id": process}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=_WAITING_SPANS,
                schedule_delay_millis=_SEND_EVERY_MS,
                max_export_batch_size=_SPANS_AT_ONCE,
                export_timeout_millis=_SENT_WITHIN_S * 1e3,
            )
        )
        self._tracer = self._provider.get_tracer("shoploop")

    def begin(self, name: str, kind: Kind, parent: bytes | None, start_ns: int) -> Span:
        """A span that has begun, in the trace of the parent or one of its own."""
        context = Context() if parent is None else _context(parent)
        return self._tracer.start_span(name, context, kind=_KINDS[kind], start_time=start_ns)

    def whole(
        self, name: str, parent: bytes, times_ns: tuple[int, int], attributes: Attributes
    ) -> bytes:
        """Tells of a part that has begun and ended; returns its own trace context."""
        span = self.begin(name, "internal", parent, times_ns[0])
        span.set_attributes(dict(attributes))
        span.end(times_ns[1])
        return self.header(span)

    def header(self, span: Span) -> bytes:
        """The trace context of a span, as a header."""
        at = span.get_span_context()
        return f"00-{at.trace_id:032x}-{at.span_id:016x}-{at.trace_flags:02x}".encode()

    def close(self) -> None:
        """Sends what is left, for two seconds at most."""
        self._provider.shutdown()


def check(settings: Settings) -> None:
    """Raises BadSettings when the address or the share of traces cannot be used."""
    if not settings.otlp.startswith(("http://", "https://")):
        raise BadSettings(f"SHOPLOOP_OTLP={redacted(settings.otlp)}: expected http://host:4318")
    if not 0.0 <= settings.trace_ratio <= 1.0:
        raise BadSettings(f"SHOPLOOP_TRACE_RATIO={settings.trace_ratio}: expected 0 to 1")


def _context(traceparent: bytes) -> Context:
    _, trace, span, flags = traceparent.decode().split("-")
    at = SpanContext(int(trace, 16), int(span, 16), True, TraceFlags(int(flags, 16)))
    return set_span_in_context(NonRecordingSpan(at), Context())
