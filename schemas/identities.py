"""Which ids are the same visitor: topic `identities`, one record per visitor, the newest wins."""

from typing import Literal

import msgspec

from schemas.events import Id, Millis

LinkReason = Literal["rekeyed", "login"]


class Identity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of one visitor id, whole: a reader needs the newest record of a key alone.

    `previous_ids` are its pseudonyms under earlier keys, oldest first; `user_id` is the account of
    the newest login. `reason` says what brought the record about. Id: derived from the event's.
    """

    identity_id: Id
    event_time_ms: Millis
    visitor_id: Id
    reason: LinkReason
    previous_ids: list[Id] = []
    user_id: Id | None = None
    previous_user_ids: list[Id] = []
