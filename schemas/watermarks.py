"""Replay's barriers: records that say how far event time is closed.

A replay writes a watermark to every partition of `events` and `predictions`; the streams pass it on
to `events.valid` and `slots`. Nothing older than `event_time_ms` follows it on the same partition.
The first watermark of a run puts a reader into barrier time, the one with `final` flushes what is
pending and puts it back into live time. Each process answers on `progress`.
"""

import msgspec

from schemas.events import Id, Millis


class Watermark(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="watermark"):
    """Event time up to and including `event_time_ms` is closed on this partition."""

    event_time_ms: Millis
    barrier: int
    run_id: Id
    final: bool = False


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far one process has come: topic `progress`, also its heartbeat when nothing moves.

    `process` is its stable name (serving-1, shadow, streams.visitors, streams.tasks, sink, ...).
    `watermark_ms` is closed on all its partitions. `live` maps task to the model version in use,
    `challenger` likewise, `weights` maps "task/surface" to the weights version in use (tasks:
    published last), `canary` maps task to the version and share under way ("v2 5%").
    `in_flight` are retrain ids accepted and not finished.
    """

    process: str
    watermark_ms: int
    barrier: int = -1
    run_id: str = ""
    wall_ms: int = 0
    live: dict[str, str] = {}
    challenger: dict[str, str] = {}
    weights: dict[str, str] = {}
    in_flight: list[str] = []
    ready: bool = True
    canary: dict[str, str] = {}
