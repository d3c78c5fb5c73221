"""Calls that are made again under one Idempotency-Key: they get the answer of the first.

Remembers in this process, for a day and within a bound of bytes; `serving/repeats.py` asks others.
Ids are derived from the key: where nothing is known of a call it is answered under the same ids.
Source: draft-ietf-httpapi-idempotency-key-header-07, section 2.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from schemas.errors import Denied, InvalidEvent
from serving.responses import Response

LONGEST_KEY = 255
DAY_S = 86_400.0
MOST_BYTES = 32_000_000
_OVERHEAD = 500


class Kept(NamedTuple):
    """A call: a digest of its body, when it began, and its answer once there is one."""

    body: bytes
    at_s: float
    response: Response | None


class Repeats:
    """What was answered under which key; for one event loop.

    Args:
        now_s: the time, in seconds.
        most_bytes: about how much memory it takes; the oldest go first.
    """

    def __init__(self, now_s: Callable[[], float], most_bytes: int = MOST_BYTES) -> None:
        self._now_s = now_s
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._bytes = 0

    def begin(self, place: str, body: bytes) -> Response | None:
        """The answer of before, or None when this call is the first and is to be answered.

        Raises:
            Denied: 422 for another body under the key, 409 while the first is being answered.
        """
        self._forget()
        kept = self._kept.get(place)
        digest = digest_of(body)
        if kept is None:
            self._put(place, Kept(digest, self._now_s(), None))
            return None
        return said_before(kept, digest)

    def end(self, place: str, response: Response | None) -> None:
        """Keeps the answer of a call; None, or one worth trying again, leaves no trace."""
        kept = self._kept.pop(place, None)
        if kept is None:
            return
        self._bytes -= _size(place, kept)
        last = lasting(response)
        if last is not None:
            self._put(place, kept._replace(response=last))

    def _put(self, place: str, kept: Kept) -> None:
        self._kept[place] = kept
        self._bytes += _size(place, kept)

    def _forget(self) -> None:
        horizon_s = self._now_s() - DAY_S
        while self._kept:
            place, oldest = next(iter(self._kept.items()))
            if oldest.at_s >= horizon_s and self._bytes <= self._most_bytes:
                return
            del self._kept[place]
            self._bytes -= _size(place, oldest)


def said_before(kept: Kept, digest: bytes) -> Response:
    """The answer of a call that was made before.

    Raises:
        Denied: 422 for another body under the key, 409 while the first is being answered.
    """
    if kept.body != digest:
        raise Denied(422, "key_reused", "the Idempotency-Key was used with another body")
    if kept.response is None:
        headers = [("Retry-After", "1")]
        raise Denied(409, "conflict", "the same call is being answered", headers)
    return kept.response


def lasting(response: Response | None) -> Response | None:
    """What is kept of an answer; None of one that the same call may not get a moment later.

    Headers are of the moment: what is left of a rate.
    """
    if response is None or not response.is_final or is_passing(response.status):
        return None
    return response._replace(headers=())


def is_passing(status: int) -> bool:
    """Whether what is refused with this status may be given a moment later."""
    return status >= 500 or status in (408, 429)


def key_of(header: str) -> str:
    """The key in the header: a structured string, or the same without its quotes.

    Raises:
        InvalidEvent: it is empty, longer than 255 characters, or not printable ASCII.

    >>> key_of('"8e03978e"'), key_of("8e03978e")
    ('8e03978e', '8e03978e')
    """
    text = header.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if not text or len(text) > LONGEST_KEY or not text.isascii() or not text.isprintable():
        raise InvalidEvent("idempotency_key", "the Idempotency-Key is no string of 1 to 255")
    return text


def digest_of(body: bytes) -> bytes:
    """Sixteen bytes that tell bodies apart."""
    return blake2b(body, digest_size=16).digest()


def _size(place: str, kept: Kept) -> int:
    return _OVERHEAD + len(place) + (len(kept.response.body) if kept.response else 0)
