"""What may pass from `events` to `events.valid`: rules over more than one field, and repeats.

Types and ranges are the schemas' (decoding checks them); this turns their messages into stable
reasons. Knows no topic and no clock: the current time is an argument.
"""

import re
from collections.abc import Iterable, Iterator

from schemas.errors import InvalidEvent
from schemas.events import EventRecord, EventWatermark, FeedbackGiven, ShopEvent

MOST_REMEMBERED = 2_000_000
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


def check(event: EventRecord, now_ms: int | None, tolerance_ms: int) -> None:
    """Returns when the event may pass.

    Args:
        event: what decoding gave; watermarks always pass.
        now_ms: wall time, None in barrier time where events come from the past or any time.
        tolerance_ms: how far ahead of `now_ms` an event may be.

    Raises:
        InvalidEvent: missing_prediction_id (feedback without the answer it judges), future.

    >>> from schemas.events import FeedbackGiven
    >>> verdict = FeedbackGiven(event_id="e", event_time_ms=1, visitor_id="v", verdict=1.0)
    >>> check(verdict, None, 0)
    Traceback (most recent call last):
        ...
    schemas.errors.InvalidEvent: feedback names no prediction_id
    """
    if isinstance(event, EventWatermark):
        return
    if isinstance(event, FeedbackGiven) and event.prediction_id is None:
        raise InvalidEvent("missing_prediction_id", "feedback names no prediction_id")
    if now_ms is not None and event.event_time_ms > now_ms + tolerance_ms:
        ahead = event.event_time_ms - now_ms
        raise InvalidEvent("future", f"event_time_ms is {ahead} ms ahead, at most {tolerance_ms}")


class Remembered:
    """The event ids of a window of event time, in order of arrival: a repeat is told by its id.

    Args:
        window_ms: how long an id is remembered, against the newest event time seen.
        most: how many ids are remembered at most; the oldest go first.
        known: (event_id, event_time_ms) to begin with, oldest first.
    """

    def __init__(
        self, window_ms: int, most: int = MOST_REMEMBERED, known: Iterable[tuple[str, int]] = ()
    ) -> None:
        self._window_ms = window_ms
        self._most = most
        self._ids: dict[str, int] = dict(known)
        self.newest_ms = max(self._ids.values(), default=0)

    def __len__(self) -> int:
        return len(self._ids)

    def is_new(self, event: ShopEvent) -> bool:
        """Remembers the event and says whether its id was unknown.

        >>> from schemas.events import Searched
        >>> search = Searched(event_id="e", event_time_ms=1, visitor_id="v", query="mug")
        >>> seen = Remembered(1_000)
        >>> seen.is_new(search), seen.is_new(search)
        (True, False)
        """
        event_id, at_ms = event.event_id, event.event_time_ms
        if event_id in self._ids:
            return False
        self._ids[event_id] = at_ms
        if at_ms > self.newest_ms:
            self.newest_ms = at_ms
        return True

    def newest_first(self) -> Iterator[tuple[str, int]]:
        """(event_id, event_time_ms) from the last one remembered back."""
        return reversed(self._ids.items())

    def forget(self) -> list[str]:
        """Drops what has left the window (or is too much), oldest first; returns the ids."""
        horizon = self.newest_ms - self._window_ms
        surplus = len(self._ids) - self._most
        gone: list[str] = []
        for event_id, at_ms in self._ids.items():
            if at_ms >= horizon and surplus <= len(gone):
                break
            gone.append(event_id)
        for event_id in gone:
            del self._ids[event_id]
        return gone
