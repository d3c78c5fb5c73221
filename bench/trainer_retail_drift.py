"""When the product itself would retrain: its detectors and its policy, four weeks apart at least.

They see what the task stage shows them: every order, and the champion's verdicts once final.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from bench.floor_data import Session
from bench.floor_loop import Judged
from core.drift import Drift
from core.retrain_policy import RetrainPolicy, Situation
from core.settings import DAY_MS, Settings
from schemas.models import Retrain
from schemas.outcomes import BasketSeen

COOLDOWN_MS = 28 * DAY_MS
"""Chosen on April and May: 2 of 9 trainings kept .983 of the hit rate, 14 days' 4 .987."""


@dataclass(frozen=True)
class Training:
    """One retraining that the policy accepted: when, why, and when its model answers."""

    at_ms: int
    ready_ms: int
    retrain_id: str
    reason: str


@dataclass
class Trigger:
    """The drift detectors and the retrain policy of one task, fed in process."""

    settings: Settings = field(default_factory=lambda: Settings(retrain_cooldown_ms=COOLDOWN_MS))
    trainings: list[Training] = field(default_factory=list)
    _pending: deque[Judged] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.drift = Drift(self.settings)
        self.policy = RetrainPolicy(self.settings)
        self._waiting: Training | None = None

    def start(self, now_ms: int) -> None:
        """The first version answers from now on."""
        self._swap("version-0", now_ms, now_ms)

    def basket(self, session: Session) -> None:
        """Shows the detectors one order."""
        past, surface = session.past, self.settings.surface_names[0]
        order = BasketSeen(
            event_id=f"{past.visitor_id}@{past.at_ms}",
            event_time_ms=past.at_ms,
            visitor_id=past.visitor_id,
            task=self.settings.task,
            surface=surface,
            item_ids=list(past.item_ids),
        )
        for evidence in self.drift.basket(order):
            self.policy.raised(evidence)

    def answered(self, judged: Judged) -> None:
        """Notes an answer of the champion; it counts when it is a day old."""
        self._pending.append(judged)

    def barrier(self, now_ms: int) -> bool:
        """Closes everything up to now; whether a model that was ordered before is ready."""
        while self._pending and self._pending[0].at_ms + DAY_MS <= now_ms:
            judged = self._pending.popleft()
            hit = judged.found > 0
            self.policy.state.labels += 1
            for evidence in self.drift.judged(judged.surface, now_ms, hit=hit, no_basket=False):
                self.policy.raised(evidence)
        ready = self._waiting is not None and now_ms >= self._waiting.ready_ms
        if ready and self._waiting is not None:
            self.policy.finished(self._waiting.retrain_id)
            self._swap(f"version-{len(self.trainings)}", self._waiting.at_ms, now_ms)
            self._waiting = None
        at = Situation(now_ms=now_ms, champion="version", challenger=None, pinned=False)
        for said in self.policy.close(at, self.drift):
            if isinstance(said, Retrain) and said.state == "accepted":
                ready_ms = now_ms + self.settings.training_cost_ms
                self._waiting = Training(now_ms, ready_ms, said.retrain_id, said.reason)
                self.trainings.append(self._waiting)
        return ready

    def _swap(self, version: str, data_until_ms: int, now_ms: int) -> None:
        self.drift.start(version, data_until_ms)
        self.policy.swapped(now_ms)
