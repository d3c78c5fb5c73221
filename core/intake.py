"""Reasons of refusals in stable words, and which events and orders have come before.

Types and ranges are the schemas' (decoding checks them); rules over more than one field are in
`core/event_rules.py`, what an event looks like afterwards in `core/intake_rules.py`.
"""

import re
from collections.abc import Iterable, Iterator
from zlib import adler32

from schemas.errors import InvalidEvent
from schemas.events import PurchaseMade, ShopEvent

MOST_REMEMBERED = 2_000_000
_SUM_BITS = 32
_SUM_MASK = (1 << _SUM_BITS) - 1
_PATH = re.compile(r"at `\$\.?(?P<path>[^`]*)`")
_MISSING = re.compile(r"missing required field `(?P<field>[^`]+)`")
_INDEX = re.compile(r"\[[^\]]*\]")
_NOT_WORD = re.compile(r"[^a-z0-9_]+")


def typed(error: InvalidEvent) -> InvalidEvent:
    """The error with a reason that names the field, where the schema refused one.

    >>> typed(InvalidEvent("invalid", "Expected `int` >= 1 - at `$.items[0].quantity`")).reason
    'invalid_items_quantity'
    >>> typed(InvalidEvent("invalid", "Object missing required field `visitor_id`")).reason
    'missing_visitor_id'
    >>> typed(InvalidEvent("empty", "the record has no value")).reason
    'empty'
    """
    if error.reason != "invalid":
        return error
    message = str(error)
    found = _PATH.search(message)
    path = _words(found["path"]) if found else ""
    missing = _MISSING.search(message)
    if missing:
        parts = [part for part in (path, _words(missing["field"])) if part]
        return InvalidEvent("_".join(["missing", *parts]), message)
    return InvalidEvent(f"invalid_{path}" if path else "invalid_record", message)


def _words(path: str) -> str:
    return _NOT_WORD.sub("_", _INDEX.sub("", path).lower()).strip("_")


class Remembered:
    """The ids of a window of event time, in order of arrival: a repeat is told by its id.

    Beside each id stand its event time and a checksum of its bytes: a repeated id with other
    content is a conflict, which is counted; the first one stands.

    Args:
        window_ms: how long an id is remembered, against the newest event time seen.
        most: how many ids are remembered at most; the oldest go first.
        known: (id, event_time_ms) to begin with, oldest first; their content is not known.
    """

    def __init__(
        self, window_ms: int, most: int = MOST_REMEMBERED, known: Iterable[tuple[str, int]] = ()
    ) -> None:
        self._window_ms = window_ms
        self._most = most
        # One number per id instead of a pair: there are millions.
        self._ids: dict[str, int] = {name: at_ms << _SUM_BITS for name, at_ms in known}
        self.newest_ms = max(self._ids.values(), default=0) >> _SUM_BITS
        self.conflicts = 0

    def __len__(self) -> int:
        return len(self._ids)

    def is_new(self, event: ShopEvent, value: bytes = b"") -> bool:
        """Remembers the event and says whether its id was unknown.

        >>> from schemas.events import Searched
        >>> search = Searched(event_id="e", event_time_ms=1, visitor_id="v", query="mug")
        >>> seen = Remembered(1_000)
        >>> seen.is_new(search, b"mug"), seen.is_new(search, b"mug"), seen.conflicts
        (True, False, 0)
        >>> seen.is_new(search, b"cup"), seen.conflicts
        (False, 1)
        """
        return self._add(event.event_id, event.event_time_ms, adler32(value) if value else 0)

    def is_new_order(self, order: PurchaseMade) -> bool:
        """Remembers the visitor's transaction and says whether it was unknown."""
        return self._add(order_key(order), order.event_time_ms, 0)

    def newest_first(self) -> Iterator[tuple[str, int]]:
        """(id, event_time_ms) from the last one remembered back."""
        return ((name, moment >> _SUM_BITS) for name, moment in reversed(self._ids.items()))

    def forget(self) -> list[str]:
        """Drops what has left the window (or is too much), oldest first; returns the ids."""
        horizon = (self.newest_ms - self._window_ms) << _SUM_BITS
        surplus = len(self._ids) - self._most
        gone: list[str] = []
        for name, moment in self._ids.items():
            if moment >= horizon and surplus <= len(gone):
                break
            gone.append(name)
        for name in gone:
            del self._ids[name]
        return gone

    def _add(self, name: str, at_ms: int, checksum: int) -> bool:
        moment = at_ms << _SUM_BITS | checksum
        if name in self._ids:
            before = self._ids[name]
            same_time = before >> _SUM_BITS == at_ms
            known = checksum and before & _SUM_MASK
            if before != moment and (known or not same_time):
                self.conflicts += 1
            return False
        self._ids[name] = moment
        if at_ms > self.newest_ms:
            self.newest_ms = at_ms
        return True


def order_key(order: PurchaseMade) -> str:
    """What tells an order: its visitor and the shop's number for it."""
    return f"{order.visitor_id}/{order.transaction_id}"
