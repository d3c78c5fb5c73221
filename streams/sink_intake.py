"""From Kafka messages to records of a table, or of `quarantine` with their bytes.

Pure but for the message objects it reads. Nothing that a message holds makes it raise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from adapters.tables import OF_TOPIC, QUARANTINE, WATERMARKS, Table
from adapters.tables_columns import WATERMARKS as WATERMARK_TYPES
from core.masking import masked
from core.pseudonyms import Pepper
from schemas.codec import (
    MESSAGE_HEADER,
    ORIGIN_HEADER,
    REASON_HEADER,
    Decoder,
)
from schemas.errors import InvalidEvent
from schemas.topics import REQUESTS, Topic
from streams.sink_block import Piece, Source
from streams.sink_refused import DeadLetter, quarantined

Pieces = list[tuple[Table, Piece]]


class TopicIntake:
    """Turns the messages of one topic, as one topic id knows it, into records of tables."""

    def __init__(
        self, topic: Topic, full_name: str, topic_id: str, pepper: Pepper | None = None
    ) -> None:
        self._topic = topic
        self._full_name = full_name
        self._topic_id = topic_id
        self._decode = None if topic.refused_from else Decoder(topic.record)
        self._table = OF_TOPIC[topic.name]
        self._pepper = pepper if topic is REQUESTS else None  # all else holds pseudonyms already

    def pieces(self, partition: int, messages: Sequence[Any], offsets: Any) -> Pieces:
        """The records of some messages of one partition, by table; `offsets` are theirs."""
        source = Source(self._full_name, self._topic_id, partition)
        values = list(map(type(messages[0]).value, messages))
        size = sum(map(len, filter(None, values)))
        if self._decode is None:
            letters = [self._dead_letter(message) for message in messages]
            return [(self._table, Piece(source, letters, offsets, messages, size))]
        records = self._decode.many(values)
        if records is not None:
            return self._by_table(Piece(source, records, offsets, messages, size))
        found = [self._read(message) for message in messages]
        piece = Piece(source, found, offsets, messages, size)
        bad = np.array([isinstance(each, _Refused) for each in found], bool)
        refused = piece.only(bad)
        rows = [each.row for each in refused.records]
        pieces = self._by_table(piece.only(~bad)) if not bad.all() else []
        return [*pieces, (QUARANTINE, refused._replace(records=rows))]

    def _read(self, message: Any) -> Any:
        value = message.value()
        assert self._decode is not None
        try:
            return self._decode(value)
        except InvalidEvent as error:
            reason = "tombstone" if value is None else error.reason
            return _Refused(quarantined(message, reason, str(error)))

    def _by_table(self, piece: Piece) -> Pieces:
        if self._pepper is not None:
            known = [masked(each, self._pepper) for each in piece.records]
            piece = piece._replace(records=known)
        kinds = set(map(type, piece.records))
        if kinds.isdisjoint(WATERMARK_TYPES):
            return [(self._table, piece)]
        marks = np.array([isinstance(each, WATERMARK_TYPES) for each in piece.records], bool)
        found = [(WATERMARKS, piece.only(marks))]
        if not marks.all():
            found.append((self._table, piece.only(~marks)))
        return found

    def _dead_letter(self, message: Any) -> DeadLetter:
        headers = dict(message.headers() or ())
        return DeadLetter(
            topic=str(self._topic.refused_from),
            reason=_text(headers.get(REASON_HEADER)),
            message=_text(headers.get(MESSAGE_HEADER)),
            origin=_text(headers.get(ORIGIN_HEADER)),
            key=message.key() or b"",
            value=message.value() or b"",
            recorded_at_ms=message.timestamp()[1],
        )


class _Refused:
    """Stands in a list of records for one that did not decode."""

    def __init__(self, row: Any) -> None:
        self.row = row


def _text(header: bytes | str | None) -> str:
    if isinstance(header, bytes):
        return header.decode("utf-8", "replace")
    return header or ""
