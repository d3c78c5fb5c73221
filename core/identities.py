"""When a visitor's ids are to be linked: once per key, and at each login as another user."""

from schemas.events import Formerly, ShopEvent
from schemas.identities import Identity
from schemas.ids import derived_id


def linked(said: Identity | None, event: ShopEvent, former: Formerly | None) -> Identity | None:
    """What is to be said of the event's visitor now; None when nothing is new.

    Args:
        said: the last record about this visitor id.
        event: the event with the ids as they leave intake.
        former: what its ids were called under earlier keys, if there are any.

    >>> from schemas.events import Searched
    >>> event = Searched(event_id="e", event_time_ms=5, visitor_id="v", user_id="u", query="mug")
    >>> login = linked(None, event, None)
    >>> login.reason, login.user_id, linked(login, event, None)
    ('login', 'u', None)
    """
    rekeyed = former is not None and said is None
    known_user = said.user_id if said is not None else None
    logged_in = event.user_id is not None and event.user_id != known_user
    if not rekeyed and not logged_in:
        return None
    before = former or Formerly()
    return Identity(
        identity_id=derived_id("identity", event.event_id),
        event_time_ms=event.event_time_ms,
        visitor_id=event.visitor_id,
        reason="rekeyed" if rekeyed else "login",
        previous_ids=before.visitor_ids,
        user_id=event.user_id or known_user,
        previous_user_ids=before.user_ids if event.user_id else [],
    )
