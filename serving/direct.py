"""Answers that the disk does not take: each waits until the broker has it, or is refused.

So an answer is recorded before its reply, whichever of the two can be used. While neither can,
nothing is answered. It knows no Kafka: one thread takes what waits, and says what became of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from schemas.errors import Unavailable
from serving.outbox import Outgoing

WITHIN_S = 1.0
_WHY = "the disk takes no records, and the broker did not take them in time"


@dataclass(eq=False)
class Ticket:
    """Records that somebody waits with."""

    records: Sequence[Outgoing]
    over: threading.Event = field(default_factory=threading.Event)
    is_sent: bool = False


class Direct:
    """`put` may be called by any thread, all else by the one that sends."""

    def __init__(
        self, within_s: float = WITHIN_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._within_s = within_s
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: list[Ticket] = []
        self._taken: list[Ticket] = []
        self._refusing_until_s = float("-inf")

    def put(self, records: Sequence[Outgoing], wake: Callable[[], None]) -> None:
        """Returns once the broker has the records.

        Raises:
            Unavailable: it did not take them in time; at once when it took none a moment ago.
                Records that it was just taking may be on their topic nevertheless.
        """
        ticket = Ticket(records)
        with self._lock:
            if self._clock() < self._refusing_until_s:
                raise Unavailable(_WHY)
            self._waiting.append(ticket)
        wake()
        ticket.over.wait(self._within_s)
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            if not ticket.is_sent:
                self._refusing_until_s = self._clock() + self._within_s
                raise Unavailable(_WHY)

    def take(self) -> list[Outgoing]:
        """What waits, in order; `said` is to follow."""
        with self._lock:
            self._taken, self._waiting = self._waiting, []
            return [record for ticket in self._taken for record in ticket.records]

    def said(self, *, is_sent: bool) -> None:
        """What became of what was taken."""
        with self._lock:
            for ticket in self._taken:
                ticket.is_sent = is_sent
                ticket.over.set()
            self._taken = []
