"""Which records were taken in already, so that a repeated one counts once.

Ids are kept by event-time day and forgotten two days behind the watermark; a record older than that
counts as seen. Command ids are few and the newest thousand are kept.
"""

from __future__ import annotations

import msgspec

from core.settings import DAY_MS

KEPT_MS = 2 * DAY_MS
_MOST_COMMANDS = 1_000


class Seen(msgspec.Struct):
    """Ids taken in, by day (a dict for order, its values unused), and how many came too late."""

    days: dict[int, dict[str, None]] = {}
    commands: list[str] = []
    from_ms: int = 0
    stale: int = 0

    def first(self, record_id: str, at_ms: int) -> bool:
        """True once per id; False too for a record from before what is remembered.

        >>> seen = Seen()
        >>> seen.first("a", 5), seen.first("a", 5)
        (True, False)
        """
        if at_ms < self.from_ms:
            self.stale += 1
            return False
        day = self.days.setdefault(at_ms // DAY_MS, {})
        if record_id in day:
            return False
        day[record_id] = None
        return True

    def first_command(self, command_id: str) -> bool:
        """True once per command."""
        if command_id in self.commands:
            return False
        self.commands = [*self.commands, command_id][-_MOST_COMMANDS:]
        return True

    def forget(self, now_ms: int) -> None:
        """Drops the days that end two days or more before this time."""
        first = (now_ms - KEPT_MS) // DAY_MS
        if first > 0:
            self.from_ms = max(self.from_ms, first * DAY_MS)
            self.days = {day: ids for day, ids in self.days.items() if day >= first}
