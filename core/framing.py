"""Frames of a spool: payloads end to end in a file, each able to prove that it is whole.

A frame is a head of 16 bytes (length and CRC-32, 4 bytes each; milliseconds, 8 bytes; all little
endian) and the payload. The CRC covers time and payload. It knows no file and no payload.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

HEAD = struct.Struct("<IIQ")
_TIME = struct.Struct("<Q")
MAX_FRAMED_BYTES = 8 * 2**20
"""A head that says more than this is damaged."""


@dataclass(frozen=True)
class Frame:
    """A payload, when it was written (milliseconds), and the bytes it takes with its head."""

    payload: bytes
    at_ms: int
    size_bytes: int


def framed(payload: bytes, at_ms: int) -> bytes:
    """The payload as a frame.

    >>> [frame.payload for frame in frames(framed(b"one", 7) + framed(b"two", 8))]
    [b'one', b'two']
    """
    return HEAD.pack(len(payload), _check(payload, at_ms), at_ms) + payload


def frames(data: bytes) -> Iterator[Frame]:
    """The whole frames from the start of `data` up to its end, or to the first that is not whole.

    >>> list(frames(framed(b"cut", 7)[:-1]))
    []
    """
    place = 0
    while place + HEAD.size <= len(data):
        length, check, at_ms = HEAD.unpack_from(data, place)
        end = place + HEAD.size + length
        if length > MAX_FRAMED_BYTES or end > len(data):
            return
        payload = data[place + HEAD.size : end]
        if _check(payload, at_ms) != check:
            return
        yield Frame(payload, at_ms, end - place)
        place = end


def _check(payload: bytes, at_ms: int) -> int:
    return zlib.crc32(payload, zlib.crc32(_TIME.pack(at_ms)))
