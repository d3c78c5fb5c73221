"""What the task stage keeps beside its snapshot, and what one record of its inputs holds."""

from typing import Any

import msgspec

from schemas.outcomes import JudgedBatch


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One journal entry: a record of a topic, or a close at a watermark and wall time."""

    topic: str = ""
    value: bytes = b""
    watermark_ms: int = 0
    wall_ms: int = 0
    after_ms: int = -1


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """What followers compare: versions in force and trainings in flight."""

    live: dict[str, str] = {}
    challenger: dict[str, str] = {}
    weights: dict[str, str] = {}
    in_flight: list[str] = []
    canary: dict[str, str] = {}


def each_of(decoded: Any) -> list[Any]:
    """The records that one record holds: those of a batch, or itself."""
    return decoded.entries if isinstance(decoded, JudgedBatch) else [decoded]
