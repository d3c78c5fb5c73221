"""Which version answers: the gate, the paired judgement in shadow, and operators' orders.

One decider per task writes the pointer that everyone else obeys. It is told of published versions,
of paired answers and of orders, and says what changed and why. It knows no topics and no clock.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from core.pairs import Half, Tally
from core.promotion_rules import Rules, Verdict, canary_plan, champion_breached, judge_shadow
from core.settings import Settings
from schemas.ids import derived_id
from schemas.models import Gate, ModelLog, ModelPointer, Order, Publish, Weights

LogKind = Literal[
    "published",
    "gate",
    "shadow",
    "canary",
    "promoted",
    "rejected",
    "rolled_back",
    "pinned",
    "unpinned",
    "frozen",
    "unfrozen",
    "control",
]
_ORDERED: dict[str, LogKind] = {
    "pin": "pinned",
    "unpin": "unpinned",
    "freeze": "frozen",
    "unfreeze": "unfrozen",
}
_HISTORY = 8


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A version that the trainer offered, as far as a decision needs it."""

    version: str
    retrain_id: str
    manifest_sha256: str
    data_until_ms: int
    ranker: list[Weights]


class DeciderState(msgspec.Struct):
    """Everything that is needed to go on exactly."""

    pointer: ModelPointer
    history: list[str] = []
    candidates: dict[str, Candidate] = {}
    shadow_from_ms: int = 0
    first_promoted_ms: int = 0
    shadow: dict[str, Tally] = {}
    guard: dict[str, Tally] = {}
    answered: dict[str, int] = {}
    entries: int = 0


class Decider:
    """The decider of one task; `swaps` counts up whenever another version becomes champion."""

    def __init__(self, settings: Settings, state: DeciderState | None = None) -> None:
        empty = ModelPointer(task=settings.task, sequence=0, event_time_ms=0, champion=None)
        self.state = state or DeciderState(empty)
        self._task = settings.task
        self._rules = Rules(
            margin=settings.shadow_margin,
            minimum_n=settings.shadow_minimum_n,
            timeout_ms=settings.shadow_timeout_ms,
            surfaces=settings.surface_names,
        )

    @property
    def pointer(self) -> ModelPointer:
        """The pointer as it stands."""
        return self.state.pointer

    def publish(self, offer: Publish, data_until_ms: int, now_ms: int) -> list[ModelLog]:
        """Takes in an offered version: refused by its gate, first champion, or into shadow."""
        version = offer.model_version
        if offer.failed is not None or version is None:
            return []
        candidate = Candidate(
            version=version,
            retrain_id=offer.retrain_id,
            manifest_sha256=offer.manifest_sha256,
            data_until_ms=offer.data_until_ms or data_until_ms,
            ranker=offer.ranker,
        )
        if version in self.state.candidates:
            return [self._log(version, "rejected", now_ms, "published before")]
        self.state.candidates[version] = candidate
        entries = [
            self._log(version, "published", now_ms),
            self._log(version, "gate", now_ms, offer.gate.reason, gate=offer.gate),
        ]
        if not offer.gate.passed:
            reason = f"the offline gate refused it: {offer.gate.reason or _failed(offer.gate)}"
            return [*entries, self._log(version, "rejected", now_ms, reason)]
        if self.pointer.champion is None:
            return [*entries, *self._first(version, now_ms)]
        return [*entries, *self._shadow(version, now_ms)]

    def order(self, order: Order, now_ms: int) -> list[ModelLog]:
        """Carries out an operator's order, or says on record why not."""
        version, by = order.model_version, f"ordered by {order.by or 'an operator'}"
        reason = f"{by}: {order.reason}" if order.reason else by
        if order.action == "promote":
            return self._ordered_promotion(version or self.pointer.challenger, reason, now_ms)
        if order.action == "rollback":
            return self._rollback(reason, now_ms)
        entries: list[ModelLog] = []
        if order.action == "pin" and version is not None and version != self.pointer.champion:
            entries = self._ordered_promotion(version, reason, now_ms)
            if self.pointer.champion != version:
                return entries
        if order.action in ("pin", "unpin"):
            self._point(now_ms, pinned=order.action == "pin")
        kind = _ORDERED.get(order.action)
        return (
            [*entries, self._log(self.pointer.champion or "", kind, now_ms, reason)] if kind else []
        )

    def pair(self, surface: str, champion: Half, rival: Half, policy: str) -> None:
        """Takes in two answers to one request: the champion's and the challenger's or control's."""
        state = self.state
        if champion.version != self.pointer.champion:
            return
        if policy == "challenger" and rival.version == self.pointer.challenger:
            state.shadow.setdefault(surface, Tally()).add(champion, rival)
        elif policy == "control" and self.pointer.champion != self.pointer.control:
            state.guard.setdefault(surface, Tally()).add(champion, rival)

    def answered(self, surface: str, version: str, served_ms: int) -> None:
        """Counts one judged answer of the champion since the shadow began."""
        if version == self.pointer.champion and served_ms >= self.state.shadow_from_ms:
            self.state.answered[surface] = self.state.answered.get(surface, 0) + 1

    def close(self, now_ms: int) -> list[ModelLog]:
        """Decides on the challenger when the evidence allows it, and guards the champion."""
        entries = self._guard(now_ms)
        challenger = self.pointer.challenger
        if challenger is None:
            return entries
        waited = now_ms - self.state.shadow_from_ms
        verdict = judge_shadow(self._rules, self.state.shadow, self.state.answered, waited)
        if self.pointer.pinned and verdict.decision == "promote":
            late = waited >= self._rules.timeout_ms
            reason = "the champion is pinned"
            verdict = Verdict("reject" if late else "wait", reason, verdict.evidence)
        if verdict.decision == "reject":
            self._point(now_ms, challenger=None)
            rejected = self._log(challenger, "rejected", now_ms, verdict.reason, verdict.evidence)
            return [*entries, rejected]
        if verdict.decision == "wait":
            return entries
        reason, evidence = canary_plan(self._rules, self.state.shadow, self.state.answered, waited)
        entries.append(self._log(challenger, "canary", now_ms, reason, evidence))
        return [*entries, self._promote(challenger, verdict.reason, now_ms, verdict.evidence)]

    def _first(self, version: str, now_ms: int) -> list[ModelLog]:
        self.state.first_promoted_ms = now_ms
        entry = self._promote(version, "the first version of the task", now_ms)
        self._point(now_ms, control=version)
        return [entry, self._log(version, "control", now_ms, "the first version, kept unchanged")]

    def _shadow(self, version: str, now_ms: int) -> list[ModelLog]:
        entries, former = [], self.pointer.challenger
        if former is not None:
            reason = f"superseded by {version} before it was judged"
            entries.append(self._log(former, "rejected", now_ms, reason))
        self.state.shadow, self.state.answered = {}, {}
        self.state.shadow_from_ms = now_ms
        self._point(now_ms, challenger=version)
        return [*entries, self._log(version, "shadow", now_ms, "judged beside the champion")]

    def _ordered_promotion(self, version: str | None, reason: str, now_ms: int) -> list[ModelLog]:
        if version is None or version not in self.state.candidates:
            text = f"{reason}; not done: no such version was published"
            return [self._log(version or "", "rejected", now_ms, text)]
        if version == self.pointer.champion:
            return []
        return [self._promote(version, reason, now_ms)]

    def _rollback(
        self, reason: str, now_ms: int, evidence: dict[str, float] | None = None
    ) -> list[ModelLog]:
        previous, champion = self.pointer.previous, self.pointer.champion
        if previous is None or champion is None:
            text = f"{reason}; not done: there is no former version"
            return [self._log(champion or "", "rejected", now_ms, text)]
        self.state.history.pop()
        self._become(previous, now_ms, pinned=True)
        text = f"{reason}; back to {previous}, pinned"
        return [
            self._log(champion, "rolled_back", now_ms, text, evidence),
            self._log(previous, "pinned", now_ms, reason),
        ]

    def _promote(
        self, version: str, reason: str, now_ms: int, evidence: dict[str, float] | None = None
    ) -> ModelLog:
        if self.pointer.champion is not None:
            self.state.history = [*self.state.history, self.pointer.champion][-_HISTORY:]
        self._become(version, now_ms, pinned=self.pointer.pinned)
        return self._log(version, "promoted", now_ms, reason, evidence)

    def _become(self, version: str, now_ms: int, *, pinned: bool) -> None:
        state = self.state
        previous = state.history[-1] if state.history else None
        challenger = None if self.pointer.challenger == version else self.pointer.challenger
        state.guard, state.shadow, state.answered = {}, {}, {}
        state.shadow_from_ms = now_ms
        self._point(
            now_ms, champion=version, previous=previous, challenger=challenger, pinned=pinned
        )

    def _guard(self, now_ms: int) -> list[ModelLog]:
        breach = champion_breached(self._rules, self.state.guard)
        if breach is None or self.pointer.previous is None or self.pointer.pinned:
            return []
        return self._rollback(breach.reason, now_ms, breach.evidence)

    def _point(self, now_ms: int, **changes: str | bool | None) -> None:
        pointer = msgspec.structs.replace(
            self.pointer, sequence=self.pointer.sequence + 1, event_time_ms=now_ms, **changes
        )
        named = (pointer.champion, pointer.challenger, pointer.control, pointer.previous)
        digests = {
            version: self.state.candidates[version].manifest_sha256
            for version in named
            if version is not None and version in self.state.candidates
        }
        self.state.pointer = msgspec.structs.replace(pointer, manifest_sha256=digests)

    def _log(
        self,
        version: str,
        kind: LogKind,
        now_ms: int,
        reason: str = "",
        evidence: dict[str, float] | None = None,
        gate: Gate | None = None,
    ) -> ModelLog:
        self.state.entries += 1
        known = self.state.candidates.get(version)
        number = str(self.state.entries)
        return ModelLog(
            log_id=derived_id("model_log", self._task, version, kind, str(now_ms), number),
            task=self._task,
            model_version=version or "none",
            kind=kind,
            event_time_ms=now_ms,
            reason=reason,
            retrain_id=known.retrain_id if known else "",
            evidence=evidence or {},
            gate=gate,
        )


def _failed(gate: Gate) -> str:
    return ", ".join(check.name for check in gate.checks if not check.passed) or "no check passed"
