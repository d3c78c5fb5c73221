"""Rows of what was refused: by intake, as a dead letter, or by the sink, as no row of its table."""

from typing import Any

import msgspec


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `dead_letters`; `topic` is the bare name of the topic that refused the record."""

    topic: str
    reason: str
    message: str
    origin: str
    key: bytes
    value: bytes
    recorded_at_ms: int


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `quarantine`: a record that is no row of its table, with its bytes and why."""

    reason: str
    message: str
    key: bytes
    value: bytes
    recorded_at_ms: int


def quarantined(message: Any, reason: str, why: str) -> Quarantined:
    """The row of `quarantine` for a Kafka message that is no row of its own table."""
    return Quarantined(
        reason=reason,
        message=why,
        key=message.key() or b"",
        value=message.value() or b"",
        recorded_at_ms=message.timestamp()[1],
    )
