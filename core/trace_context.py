"""W3C trace context in the header `traceparent` of an HTTP request or a record."""

from __future__ import annotations

import re
from typing import Any

TRACEPARENT = "traceparent"
_FORM = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1


def sound(traceparent: bytes | None) -> bytes | None:
    """The header itself when it is one of version 00, else None.

    Source: W3C Trace Context, section 3.2 (traceparent).

    >>> sound(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01") is not None
    True
    >>> sound(b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01"), sound(b"late; night"), sound(None)
    (None, None, None)
    """
    found = None if traceparent is None else _FORM.fullmatch(traceparent)
    if found is None or not int(found[1], 16) or not int(found[2], 16):
        return None
    return traceparent


def traceparent_of(headers: Any) -> bytes | None:
    """The trace context among a record's headers, if there is a sound one."""
    for name, value in headers or ():
        if name == TRACEPARENT:
            return sound(value)
    return None


def is_sampled(traceparent: bytes) -> bool:
    """Whether its sender keeps this trace."""
    return bool(int(traceparent[-2:], 16) & _SAMPLED)
