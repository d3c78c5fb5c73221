"""Events that a shop posts over HTTP: each is checked by itself, the good ones go to `events`."""

from collections.abc import Callable

import msgspec

from adapters.clock import wall_ms
from adapters.kafka import topic_name
from core.event_rules import Limits, check, in_time, limits_of
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder, cloud_headers
from schemas.errors import InvalidEvent, Overloaded, Unavailable
from schemas.events import EVENT_NAMES, ShopEvent
from schemas.http import MOST_EVENTS, EventError, EventsTaken
from serving.outbox import Outbox, Outgoing

ACKNOWLEDGED_WITHIN_S = 5.0
_NAMES = f", expected one of {', '.join(EVENT_NAMES)}"
_SPACE = b" \t\r\n"


class EventIntake:
    """Takes one event or a list of them; `in_replay` says that times may be any."""

    def __init__(
        self,
        settings: Settings,
        process: str,
        outbox: Outbox,
        in_replay: Callable[[], bool] = lambda: False,
    ) -> None:
        self._topic = topic_name(settings, topics.EVENTS)
        self._source = process
        self._outbox = outbox
        self._decode = Decoder(ShopEvent)
        self._limits = limits_of(settings)
        self._ahead = Limits(self._limits.ahead_ms)
        self._in_replay = in_replay
        self._most_waiting = settings.waiting_events

    def take(self, body: bytes, within_s: float = ACKNOWLEDGED_WITHIN_S) -> EventsTaken:
        """Produces the good events and waits for the broker; names the bad ones.

        Args:
            body: as it was posted.
            within_s: what is left of the time that the broker is given; nothing is sent without.

        Raises:
            InvalidEvent: the body is neither an event nor a list of at most 1,000.
            Overloaded: too many events wait for the broker; none of these was sent.
            Unavailable: the broker did not acknowledge in time; all may be sent again.
        """
        records: list[Outgoing] = []
        errors: list[EventError] = []
        for index, raw in enumerate(_parts(body)):
            try:
                records.append(self._outgoing(bytes(raw)))
            except InvalidEvent as error:
                message = str(error) + (_NAMES if "`$.event_name`" in str(error) else "")
                errors.append(EventError(index=index, reason=error.reason, message=message))
        if within_s <= 0:
            raise Unavailable("Kafka has not acknowledged what came before; none of these was sent")
        waiting = self._outbox.waiting
        if waiting and waiting + len(records) > self._most_waiting:
            raise Overloaded(f"{waiting} events wait for Kafka; try again in 1 s", 1.0)
        self._outbox.send(records, 0.5).wait(within_s)
        return EventsTaken(accepted=len(records), errors=errors)

    def _outgoing(self, value: bytes) -> Outgoing:
        event = self._decode(value)
        check(event, None, self._limits)
        if not self._in_replay():  # how late it is, is for the streams: they know replays sooner
            in_time(event.event_time_ms, wall_ms(), self._ahead)
        headers = cloud_headers("event", event.event_id, self._source)
        return Outgoing(self._topic, event.visitor_id.encode(), value, headers)


def _parts(body: bytes) -> list[msgspec.Raw]:
    """The events of a body as they were written."""
    if not body.lstrip(_SPACE).startswith(b"["):
        return [msgspec.Raw(body)]
    try:
        parts = msgspec.json.decode(body, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent("malformed", str(error) or "not JSON") from error
    if not parts:
        raise InvalidEvent("empty", f"no event, expected 1 to {MOST_EVENTS}")
    if len(parts) > MOST_EVENTS:
        raise InvalidEvent("too_many", f"{len(parts)} events, expected 1 to {MOST_EVENTS}")
    return parts
