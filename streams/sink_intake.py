"""From a Kafka message to a row: decoded for its table, or quarantined with its bytes.

Pure but for the message object it reads. Nothing that a message holds makes it raise.
"""

from __future__ import annotations

from typing import Any

from adapters.tables import OF_TOPIC, QUARANTINE, WATERMARKS, Table
from adapters.tables_columns import WATERMARKS as WATERMARK_TYPES
from schemas.codec import (
    MESSAGE_HEADER,
    ORIGIN_HEADER,
    REASON_HEADER,
    Decoder,
)
from schemas.errors import InvalidEvent
from schemas.topics import Topic
from streams.sink_block import DeadLetter, Origin, Row, quarantined


class TopicIntake:
    """Turns the messages of one topic, as one topic id knows it, into rows of tables."""

    def __init__(self, topic: Topic, full_name: str, topic_id: str) -> None:
        self._topic = topic
        self._full_name = full_name
        self._topic_id = topic_id
        self._decode = None if topic.refused_from else Decoder(topic.record)
        self._table = OF_TOPIC[topic.name]

    def row(self, message: Any) -> tuple[Table, Row]:
        """The table and the row of a message."""
        origin = Origin(self._full_name, self._topic_id, message.partition(), message.offset())
        key, value, at_ms = message.key() or b"", message.value(), message.timestamp()[1]
        if self._decode is None:
            letter = self._dead_letter(message, key, value or b"", at_ms)
            return self._table, Row(letter, origin, key, value or b"", at_ms)
        try:
            record = self._decode(value)
        except InvalidEvent as error:
            reason = "tombstone" if value is None else error.reason
            row = Row(None, origin, key, value or b"", at_ms)
            return QUARANTINE, quarantined(row, reason, str(error))
        table = WATERMARKS if isinstance(record, WATERMARK_TYPES) else self._table
        return table, Row(record, origin, key, value, at_ms)

    def _dead_letter(self, message: Any, key: bytes, value: bytes, at_ms: int) -> DeadLetter:
        headers = dict(message.headers() or ())
        return DeadLetter(
            topic=str(self._topic.refused_from),
            reason=_text(headers.get(REASON_HEADER)),
            message=_text(headers.get(MESSAGE_HEADER)),
            origin=_text(headers.get(ORIGIN_HEADER)),
            key=key,
            value=value,
            recorded_at_ms=at_ms,
        )


def _text(header: bytes | str | None) -> str:
    if isinstance(header, bytes):
        return header.decode("utf-8", "replace")
    return header or ""
