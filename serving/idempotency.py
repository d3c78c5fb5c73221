"""Calls that are made again under one Idempotency-Key: they get the answer of the first.

Remembers in this process, for a day and within a bound of bytes. Elsewhere, and after a restart, a
repeat is answered anew under the same ids, since ids are derived from the key.
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


class _Kept(NamedTuple):
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
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def begin(self, place: str, body: bytes) -> Response | None:
        """The answer of before, or None when this call is the first and is to be answered.

        Raises:
            Denied: 422 for another body under the key, 409 while the first is being answered.
        """
        self._forget()
        kept = self._kept.get(place)
        digest = _digest(body)
        if kept is None:
            self._put(place, _Kept(digest, self._now_s(), None))
            return None
        if kept.body != digest:
            raise Denied(422, "key_reused", "the Idempotency-Key was used with another body")
        if kept.response is None:
            headers = [("Retry-After", "1")]
            raise Denied(409, "conflict", "the same call is being answered", headers)
        return kept.response

    def end(self, place: str, response: Response | None) -> None:
        """Keeps the answer of a call; None, or one worth trying again, leaves no trace."""
        kept = self._kept.pop(place, None)
        if kept is None:
            return
        self._bytes -= _size(place, kept)
        if response is not None and response.is_final and not is_passing(response.status):
            # Headers are of the moment: what is left of a rate.
            self._put(place, kept._replace(response=response._replace(headers=())))

    def _put(self, place: str, kept: _Kept) -> None:
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


def _digest(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).digest()


def _size(place: str, kept: _Kept) -> int:
    return _OVERHEAD + len(place) + (len(kept.response.body) if kept.response else 0)
