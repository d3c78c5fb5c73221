"""Tasks without served traffic, such as a text classifier: orders in, retrains and pointers out.

Their decider is the same as that of the task which shoppers see, less everything that needs
answers: no shadow, no canary, no guard. Commands are carried out in the order of their topic, at
the event time that they state, because nothing else moves time here.
"""

from __future__ import annotations

import msgspec

from core.promotion import Decider, DeciderState
from core.retrain_policy import PolicyState, RetrainPolicy, Situation
from core.settings import Settings
from schemas.models import Order, Publish

_MOST_COMMANDS = 1_000


class OfflineTask(msgspec.Struct):
    """One task's versions and trainings, and how far its event time is."""

    decider: DeciderState
    policy: PolicyState = msgspec.field(default_factory=PolicyState)
    now_ms: int = 0


class SavedOffline(msgspec.Struct):
    """All of them by name, commands that wait for a close, and ids of those carried out."""

    tasks: dict[str, OfflineTask] = {}
    waiting: list[Publish | Order] = []
    done: list[str] = []


class OfflineTasks:
    """Every task but the one that the stage measures; the first command makes a task known."""

    def __init__(self, settings: Settings, state: SavedOffline | None = None) -> None:
        self.state = state or SavedOffline()
        self._settings = settings

    def step(self, command: Publish | Order) -> None:
        """Remembers a command until the next close."""
        self.state.waiting.append(command)

    def close(self, wall_ms: int) -> list[msgspec.Struct]:
        """Carries out what waits: retrains, entries of the history, and each changed pointer."""
        waiting, self.state.waiting = self.state.waiting, []
        said: list[msgspec.Struct] = []
        for command in waiting:
            if command.command_id in self.state.done:
                continue
            self.state.done = [*self.state.done, command.command_id][-_MOST_COMMANDS:]
            said.extend(self._carried_out(command, wall_ms))
        return said

    def _carried_out(self, command: Publish | Order, wall_ms: int) -> list[msgspec.Struct]:
        settings = msgspec.structs.replace(self._settings, task=command.task)
        known = self.state.tasks.get(command.task)
        decider = Decider(settings, known.decider if known else None, shadowed=False)
        policy = RetrainPolicy(settings, known.policy if known else None)
        now_ms = max(known.now_ms if known else 0, command.event_time_ms)
        sequence = decider.pointer.sequence
        if isinstance(command, Publish):
            said = _published(decider, policy, command, now_ms)
        elif command.action == "retrain":
            said = _retrain(decider, policy, command, now_ms)
        else:
            said = list(decider.order(command, now_ms))
        self.state.tasks[command.task] = OfflineTask(decider.state, policy.state, now_ms)
        if decider.pointer.sequence != sequence:
            said.append(msgspec.structs.replace(decider.pointer, announced_wall_ms=wall_ms))
        return said


def _published(
    decider: Decider, policy: RetrainPolicy, offer: Publish, now_ms: int
) -> list[msgspec.Struct]:
    policy.finished(offer.retrain_id)
    return list(decider.publish(offer, offer.data_until_ms, now_ms))


def _retrain(
    decider: Decider, policy: RetrainPolicy, order: Order, now_ms: int
) -> list[msgspec.Struct]:
    pointer = decider.pointer
    situation = Situation(
        now_ms=now_ms,
        champion=pointer.champion,
        challenger=None,
        pinned=pointer.pinned,
        refused=decider.state.refused,
    )
    return [*policy.abandoned(situation), *policy.ordered(order, situation)]
