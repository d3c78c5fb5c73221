"""What a replay waits for, each wait with a deadline and a sentence saying who is late.

Decides nothing and sends nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from local.replay_wire import Inbox
from schemas.errors import Unavailable
from schemas.watermarks import Progress

TASKS = "streams.tasks"
VISITORS = "streams.visitors"
SHADOW = "shadow"
SERVING = "serving-"

ANSWERS_WITHIN_S = 60.0
BARRIER_WITHIN_S = 90.0
TRAINING_WITHIN_S = 300.0
FOUND_WITHIN_S = 30.0
_POLL_S = 0.05


class Waits:
    """Waits on the inbox; `spent_s` adds up how long each kind of wait took."""

    def __init__(self, inbox: Inbox, task: str, tick: Callable[[], None]) -> None:
        self._inbox = inbox
        self._task = task
        self._tick = tick
        self._followers: list[str] = []
        self.spent_s: dict[str, float] = {}

    def processes(self, serving: int) -> None:
        """Finds the replicas that follow the loop: the shadow and at least `serving` servers.

        Raises:
            Unavailable: they do not show on `progress`.
        """

        def missing() -> str:
            there = self._inbox.progress
            servers = [name for name in there if name.startswith(SERVING)]
            absent = [name for name in (VISITORS, TASKS, SHADOW) if name not in there]
            if len(servers) < serving:
                absent.append(f"{serving - len(servers)} of {serving} serving processes")
            self._followers = [*sorted(servers), SHADOW]
            return f"no sign of {', '.join(absent)}" if absent else ""

        self._until(missing, "start", FOUND_WITHIN_S)

    def answers(self, request_ids: Iterable[str], policies: tuple[str, ...]) -> None:
        """Until each request has an answer of each of the policies."""
        open_ids = set(request_ids)

        def missing() -> str:
            answers = self._inbox.answers
            done = [
                asked
                for asked in open_ids
                if asked in answers and all(policy in answers[asked] for policy in policies)
            ]
            open_ids.difference_update(done)
            if not open_ids:
                return ""
            sample = min(open_ids)
            there = sorted(answers.get(sample, {}))
            return (
                f"{len(open_ids)} requests without their answers on predictions "
                f"(request {sample} has {', '.join(there) or 'none'}; waiting for "
                f"{' and '.join(policies)})"
            )

        self._until(missing, "answers", ANSWERS_WITHIN_S)

    def barrier(self, event_time_ms: int) -> None:
        """Until the streams have closed this event time and every replica serves what they say."""
        self._until(lambda: self._behind(event_time_ms), "barrier", BARRIER_WITHIN_S)

    def trainings(self, event_time_ms: int) -> None:
        """Until no accepted retrain is without its result."""

        def missing() -> str:
            in_flight = self._inbox.progress[TASKS].in_flight
            unpublished = [one for one in in_flight if one not in self._inbox.published]
            if unpublished:
                return f"the trainer has not answered retrain {unpublished[0]}"
            return ""

        if missing():
            self._until(missing, "training", TRAINING_WITHIN_S)
            self.barrier(event_time_ms)

    def first_training(self) -> None:
        """Until the trainer has offered the first version.

        Raises:
            Unavailable: the training failed or its gate refused it; the text says why.
        """

        def missing() -> str:
            for publish in self._inbox.published.values():
                if publish.failed or not publish.gate.passed:
                    why = publish.failed or f"refused by its gate: {publish.gate.reason}"
                    raise Unavailable(f"the first training gave no version: {why}")
            return "" if self._inbox.published else "the trainer has not offered the first version"

        self._until(missing, "first training", TRAINING_WITHIN_S)

    def first_version(self, event_time_ms: int) -> None:
        """Until every replica serves the first version."""

        def missing() -> str:
            if self._task not in self._inbox.progress[TASKS].live:
                return f"{TASKS} has not promoted the first version"
            return self._behind(event_time_ms)

        self._until(missing, "first version", BARRIER_WITHIN_S)

    def lags_ms(self, event_time_ms: int) -> dict[str, int]:
        """How far each process's watermark is behind an event time."""
        return {
            name: max(0, event_time_ms - progress.watermark_ms)
            for name, progress in self._inbox.progress.items()
        }

    def _behind(self, event_time_ms: int) -> str:
        tasks = self._inbox.progress[TASKS]
        if tasks.watermark_ms < event_time_ms:
            visitors = self._inbox.progress[VISITORS]
            late = VISITORS if visitors.watermark_ms < event_time_ms else TASKS
            return f"{late} has not closed event time {event_time_ms}"
        for name in self._followers:
            found = _differs(self._inbox.progress[name], tasks, event_time_ms)
            if found:
                return f"{name} {found}"
        return ""

    def _until(self, missing: Callable[[], str], kind: str, within_s: float) -> None:
        began_s = time.monotonic()
        lacking = missing()
        while lacking:
            waited_s = time.monotonic() - began_s
            if waited_s > within_s:
                raise Unavailable(f"{lacking}, after {within_s:.0f} s")
            if self._inbox.poll(_POLL_S):
                lacking = missing()
            self._tick()
        self.spent_s[kind] = self.spent_s.get(kind, 0.0) + time.monotonic() - began_s


def _differs(follower: Progress, tasks: Progress, event_time_ms: int) -> str:
    if follower.watermark_ms < event_time_ms:
        return f"has not closed event time {event_time_ms}"
    for what in ("live", "challenger", "canary", "weights"):
        mine, theirs = getattr(follower, what), getattr(tasks, what)
        if mine != theirs:
            return f"has other {what} ({mine}) than {TASKS} says ({theirs})"
    return ""
