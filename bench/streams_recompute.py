"""The figures on `metrics` again, from the judged lists and barriers on `slots` alone.

No worker, store or journal takes part: records are read back, stepped by the core's task stage and
closed at the barriers that every visitor partition has passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from confluent_kafka import Message

from bench.streams_ground import read_all
from core.settings import Settings
from core.task_stage import TaskStage
from core.watermarks import Mark, clock
from schemas import topics
from schemas.codec import Decoder, encode
from schemas.metrics import Metric
from schemas.watermarks import Watermark
from streams.visitors import PARTITION_HEADER


def metrics_differ(settings: Settings) -> tuple[int, int]:
    """How many closed figures were compared byte for byte, and how many differ."""
    said = [message.value() or b"" for message in read_all(settings, topics.METRICS)]
    slots = read_all(settings, topics.SLOTS)
    return differing(closed_alone(said), recomputed(settings, slots))


def closed_alone(said: Iterable[bytes]) -> list[bytes]:
    """The final figures among the records of `metrics`."""
    decode = msgspec.json.Decoder(Metric).decode
    return [value for value in said if decode(value).closed]


def differing(said: Sequence[bytes], again: Sequence[bytes]) -> tuple[int, int]:
    """How many figures there are, and how many places of the two sequences differ.

    >>> differing([b"a", b"b"], [b"a", b"c"]), differing([b"a"], [])
    ((2, 1), (1, 1))
    """
    differ = sum(a != b for a, b in zip(said, again, strict=False))
    return len(said), differ + abs(len(said) - len(again))


def recomputed(settings: Settings, slots: Iterable[Message]) -> list[bytes]:
    """The final figures that follow from what `slots` holds, in the order they are said."""
    stage, decode = TaskStage(settings), Decoder(topics.SLOTS.record)
    visitors = range(topics.VISITOR_PARTITIONS)
    passed = clock([f"{s}/{v}" for s in range(topics.SLOTS.partitions) for v in visitors])
    found: list[bytes] = []
    for message in slots:
        record = decode(message.value())
        if not isinstance(record, Watermark):
            for each in getattr(record, "entries", [record]):
                stage.step(each)
            continue
        mark = Mark(record.event_time_ms, record.barrier, record.run_id, record.final)
        closed = passed.mark(_source(message), mark)
        if closed is not None:
            outputs = stage.close(closed.event_time_ms, 0)
            found += [
                encode(m) for _, _, m in outputs.records if isinstance(m, Metric) and m.closed
            ]
    return found


def _source(message: Message) -> str:
    """Which partition of `slots` and of the visitor stage a barrier came through."""
    named = dict(message.headers() or [])[PARTITION_HEADER]
    return f"{message.partition()}/{named.decode() if isinstance(named, bytes) else named}"
