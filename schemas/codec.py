"""Bytes on the wire: JSON by msgspec, CloudEvents attributes and dead-letter facts in headers."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.errors import InvalidEvent

MAX_RECORD_BYTES = 1_000_000
MAX_QUESTION_BYTES = 800_000
"""An answer repeats what its question names, and must be a record itself."""
MAX_SENT_BYTES = 1_030_000
"""Of what we write, with key and headers: less than a broker takes as it comes (1,048,588), so that
nothing is refused there that would hold up all that follows."""

_FRAME_BYTES = 100  # of a batch of one record, and of the record
_encoder = msgspec.json.Encoder()
Headers = list[tuple[str, bytes | None]]

REASON_HEADER = "shoploop_reason"
MESSAGE_HEADER = "shoploop_message"
ORIGIN_HEADER = "shoploop_origin"
CUT_HEADER = "shoploop_cut"
"""On a dead letter that does not hold all of its record: how many bytes each part had."""
REPLAY_HEADER = "shoploop_replay_of"
"""On a record sent again: the dead letter it was, as topic[partition]@offset."""


class Decoder:
    """Decodes one record type and turns every failure into `InvalidEvent`."""

    def __init__(self, record: Any, most_bytes: int = MAX_RECORD_BYTES) -> None:
        self._decode = msgspec.json.Decoder(record).decode
        self._most_bytes = most_bytes

    def __call__(self, data: bytes | None) -> Any:
        """The record in `data`; raises InvalidEvent (empty, too_large, malformed, invalid)."""
        if not data:
            raise InvalidEvent("empty", "the record has no value")
        if len(data) > self._most_bytes:
            raise InvalidEvent("too_large", f"{len(data)} bytes, at most {self._most_bytes}")
        try:
            return self._decode(data)
        except msgspec.ValidationError as error:
            raise InvalidEvent("invalid", str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidEvent("malformed", str(error) or "not JSON") from error

    def many(self, values: Sequence[Any]) -> list[Any] | None:
        """The records of many values in one go; None when a call would refuse one of them."""
        try:
            if max(map(len, values)) > self._most_bytes:
                return None
            return list(map(self._decode, values))
        except (TypeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


def encode(record: Any) -> bytes:
    """The record as JSON; floats must be finite (msgspec writes NaN as null)."""
    return _encoder.encode(record)


def finite(value: float, what: str) -> float:
    """The value itself; raises InvalidEvent when it is NaN or infinite."""
    if not math.isfinite(value):
        raise InvalidEvent("not_finite", f"{what} is {value}")
    return value


def cloud_headers(record_type: str, record_id: str, source: str) -> list[tuple[str, bytes]]:
    """CloudEvents 1.0 attributes as Kafka headers.

    Source: CloudEvents Kafka protocol binding 1.0, section 3.2 (binary mode), prefix `ce_`.
    """
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", f"shoploop.{record_type}.v1".encode()),
        ("ce_source", source.encode()),
        ("ce_id", record_id.encode()),
    ]


class CloudHeaders:
    """CloudEvents headers of many records of few types: only the id differs from one to the next.

    >>> CloudHeaders("shop").of("outcome", "o1") == cloud_headers("outcome", "o1", "shop")
    True
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._fixed: dict[str | type[msgspec.Struct], list[tuple[str, bytes]]] = {}

    def of(self, record_type: str | type[msgspec.Struct], record_id: str) -> Headers:
        """The headers of one record; a struct's type goes by its tag."""
        fixed = self._fixed.get(record_type)
        if fixed is None:
            name = record_type if isinstance(record_type, str) else _tag(record_type)
            fixed = self._fixed[record_type] = cloud_headers(name, "", self._source)[:3]
        return [*fixed, ("ce_id", record_id.encode())]


def sent_bytes(
    key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
) -> int:
    """What a record takes on the wire, uncompressed, at most."""
    return _FRAME_BYTES + len(key or b"") + len(value or b"") + headers_bytes(headers)


def headers_bytes(headers: Sequence[tuple[str, bytes | None]]) -> int:
    """What headers take on the wire, at most: names, values and the lengths of both."""
    return sum(len(name.encode()) + len(value or b"") + 10 for name, value in headers)


def fitting(value: bytes | None, headers: Sequence[tuple[str, bytes | None]]) -> None:
    """Raises InvalidEvent (too_large) where a broker may not take the record with its headers."""
    if not headers and len(value or b"") <= MAX_RECORD_BYTES:
        return  # most events: there are many
    size_bytes = sent_bytes(None, value, headers)
    if size_bytes > MAX_SENT_BYTES:
        raise InvalidEvent("too_large", f"{size_bytes} bytes with headers, {MAX_SENT_BYTES} fit")


def _tag(record_type: type[msgspec.Struct]) -> str:
    return str(record_type.__struct_config__.tag)


def refused_headers(error: InvalidEvent, origin: str) -> list[tuple[str, bytes]]:
    """Headers of a dead letter: the reason, the message, and topic[partition]@offset."""
    return [
        (REASON_HEADER, error.reason.encode()),
        (MESSAGE_HEADER, str(error)[:2_000].encode("utf-8", "replace")),
        (ORIGIN_HEADER, origin.encode()),
    ]
