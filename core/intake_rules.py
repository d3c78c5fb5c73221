"""What an event looks like when it leaves intake: pseudonymous, coarse, scrubbed.

An event that needs no change keeps its bytes; one that does is encoded anew, so that fields this
version does not know stay behind. Knows no topic, no clock and no storage.
"""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from core.coarsening import browser_of, network_of
from core.event_rules import Limits, check, in_time, limits_of
from core.identities import linked
from core.pseudonyms import Pepper
from core.scrub import is_suspect, scrubbed
from core.settings import Settings
from core.watermarks import Clock
from schemas.codec import encode
from schemas.events import Formerly, Searched, ShopEvent
from schemas.identities import Identity

Said = Callable[[str], Identity | None]
Admitted = tuple[ShopEvent, bytes, Identity | None]


class Intake:
    """The rules of one shop.

    Args:
        settings: limits, currency, phone region.
        pepper: what makes pseudonyms; None leaves ids as they are.
    """

    def __init__(self, settings: Settings, pepper: Pepper | None = None) -> None:
        self._limits = limits_of(settings)
        self._ahead = Limits(self._limits.ahead_ms)
        self._region = settings.phone_region
        self._pepper = pepper

    def check(self, event: ShopEvent, now_ms: int | None) -> None:
        """Returns when the event may pass; see `core.event_rules.check`."""
        check(event, now_ms, self._limits)

    def check_ahead(self, at_ms: int, clock: Clock, wall_ms: int) -> None:
        """Returns when a record of this time may move event time on; barriers say so themselves.

        Also of what is stepped again: what was refused at its time must be refused then, too.

        Raises:
            InvalidEvent: future; it would end every open window.
        """
        if not clock.by_barriers:
            in_time(at_ms, wall_ms, self._ahead)

    def admit(self, event: ShopEvent, value: bytes, said: Said) -> Admitted:
        """The event as it may be stored, its bytes, and what links its ids if that is new.

        Args:
            event: a checked event.
            value: its bytes as they came.
            said: gives the last identity record about a visitor id.

        >>> search = Searched(event_id="e", event_time_ms=1, visitor_id="v", query="a@b.com")
        >>> Intake(Settings()).admit(search, encode(search), lambda _: None)[0].query
        '<email>'
        """
        # The one line that every event pays for: most need nothing.
        if (
            self._pepper is None
            and event.user_id is None
            and event.ip is None
            and event.user_agent is None
            and event.formerly is None
            and (type(event) is not Searched or not is_suspect(event.query))
        ):
            return event, value, None
        return self._admit(event, value, said)

    def _admit(self, event: ShopEvent, value: bytes, said: Said) -> Admitted:
        former = self._former(event)
        changes = self._changes(event)
        clean: ShopEvent = replace(event, **changes) if changes else event
        identity = None
        if former is not None or clean.user_id is not None:
            identity = linked(said(clean.visitor_id), clean, former)
        if identity is not None and former is not None:
            clean = replace(clean, formerly=former)
        return clean, value if clean is event else encode(clean), identity

    def _changes(self, event: ShopEvent) -> dict[str, Any]:
        """Fields that must not stay as they are."""
        wanted: dict[str, Any] = {"formerly": None}
        if event.ip is not None:
            wanted["ip"] = network_of(event.ip)
        if event.user_agent is not None:
            wanted["user_agent"] = browser_of(event.user_agent)
        if isinstance(event, Searched):
            wanted["query"] = scrubbed(event.query, self._region)
        if self._pepper is not None:
            wanted |= _pseudonymous(self._pepper, event)
        return {name: new for name, new in wanted.items() if new != getattr(event, name)}

    def _former(self, event: ShopEvent) -> Formerly | None:
        pepper = self._pepper
        if pepper is None or not pepper.has_former:
            return None
        user, session = event.user_id, event.session_id
        return Formerly(
            visitor_ids=pepper.former("visitor", event.visitor_id),
            user_ids=pepper.former("user", user) if user is not None else [],
            session_ids=pepper.former("session", session) if session is not None else [],
        )


def _pseudonymous(pepper: Pepper, event: ShopEvent) -> dict[str, str]:
    ids = {"visitor_id": pepper.pseudonym("visitor", event.visitor_id)}
    if event.user_id is not None:
        ids["user_id"] = pepper.pseudonym("user", event.user_id)
    if event.session_id is not None:
        ids["session_id"] = pepper.pseudonym("session", event.session_id)
    return ids
