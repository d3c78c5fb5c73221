"""What a replay tells whoever watches it: the interface, and a view of plain lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from local.replay_waits import TASKS

if TYPE_CHECKING:
    from local.replay import Replay

SHOWN_POLICIES = ("loop", "control", "popular_7d", "own_items", "also_bought")


class View(Protocol):
    """Is told when a phase begins, when a barrier is passed, and often while waiting."""

    def phase(self, what: str) -> None:
        """A new phase has begun."""

    def barrier(self, replay: Replay) -> None:
        """A barrier has been passed."""

    def tick(self, replay: Replay) -> None:
        """Time goes by."""


class PlainView:
    """One line a phase, a finished event-time week and a change of version."""

    def __init__(self, write: Callable[[str], None] = print) -> None:
        self._write = write
        self._weeks = 0
        self._live = ""

    def phase(self, what: str) -> None:
        """Says the phase."""
        self._write(f"{what} ...")

    def barrier(self, replay: Replay) -> None:
        """Says finished weeks and new versions."""
        live = live_version(replay)
        if live != self._live:
            self._live = live
            self._write(f"  version {live} serves")
        weeks = replay.player.tally.weeks()
        for week in weeks[self._weeks : -1]:
            self._write(week_line(replay, week))
        self._weeks = max(self._weeks, len(weeks) - 1)

    def tick(self, replay: Replay) -> None:
        """Says nothing."""


def live_version(replay: Replay) -> str:
    """The version the decider has put in charge, empty before the first."""
    tasks = replay.inbox.progress.get(TASKS)
    return tasks.live.get(replay.settings.task, "") if tasks else ""


def week_line(replay: Replay, week: str) -> str:
    """A week's hit rates on one line."""
    parts = []
    for surface in replay.settings.surface_names:
        rates = [
            f"{policy} {rate:.3f}"
            for policy in SHOWN_POLICIES
            if (rate := replay.player.tally.rate(surface, policy, week)) is not None
        ]
        parts.append(f"{surface}: {', '.join(rates)}")
    return f"  week of {week}  {'  |  '.join(parts)}"
