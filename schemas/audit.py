"""What people did to the product itself: topic `audit`, keyed by who did it."""

from typing import Literal

import msgspec

from schemas.events import Id, Millis


class AdminAction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One action of an operator, such as `models.promote` or `keys.revoke`.

    `target` is what it was done to: a key's id, a task, a topic. `outcome` is `refused` when what
    was asked for cannot be, `failed` when something did not answer, `unknown` when the command was
    killed before it could say. Holds no secret. A record may come twice, with the same `audit_id`.
    """

    audit_id: Id
    event_time_ms: Millis
    actor: Id
    action: Id
    target: str
    outcome: Literal["done", "refused", "failed", "unknown"]
    detail: str = ""
