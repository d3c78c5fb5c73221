"""Identifiers: their types, and how new and derived ones are made.

New ids are UUIDv7, so they sort by creation time. A record derived from others takes a UUIDv5 of
their ids, so that a replay writes the same ids again.
"""

import hashlib
import os
import time
import uuid
from typing import NewType

EventId = NewType("EventId", str)
ItemId = NewType("ItemId", str)
VisitorId = NewType("VisitorId", str)
PredictionId = NewType("PredictionId", str)
RequestId = NewType("RequestId", str)
ModelVersion = NewType("ModelVersion", str)

_NAMESPACE = uuid.UUID("6f1b6f3e-52d2-5c2e-9d0a-1f6f0c5d7a11")
_CLEAR_VERSION = ~((0xF << 76) | (0b11 << 62))
_VERSION_5 = (0x5 << 76) | (0b10 << 62)


def new_id() -> str:
    """A UUIDv7 as text: 48 bits of wall-clock milliseconds, then randomness.

    Source: RFC 9562, section 5.7.
    """
    millis = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10), "big")
    value = (millis & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= ((random_bits >> 68) & 0xFFF) << 64
    value |= 0b10 << 62
    value |= random_bits & ((1 << 62) - 1)
    return str(uuid.UUID(int=value))


def derived_id(*parts: str) -> str:
    """A UUIDv5 of the parts, the same for the same parts in every process.

    Source: RFC 9562, section 5.5.

    >>> derived_id("outcome", "p1") == derived_id("outcome", "p1")
    True
    """
    # By hand: uuid.uuid5 costs five times as much, and ids are made for every record written.
    name = "\x1f".join(parts).encode()
    digest = hashlib.sha1(_NAMESPACE.bytes + name, usedforsecurity=False).digest()
    versioned = int.from_bytes(digest[:16], "big") & _CLEAR_VERSION | _VERSION_5
    text = f"{versioned:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
