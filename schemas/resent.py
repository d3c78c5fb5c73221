"""Dead letters that an operator sent again: topic `resent`, keyed by the letter."""

import msgspec

from schemas.events import Id, Millis


class Resent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One dead letter went back to the topic that refused it.

    `letter` is where it lies, topic[partition]@offset. Written in the transaction that sends the
    record again, so that the one is there exactly when the other is. `edited`: the bytes sent were
    not those refused. `sent_at_ms` is wall time.
    """

    letter: Id
    topic: Id
    reason: str
    sent_at_ms: Millis
    edited: bool = False
    by: str = ""
