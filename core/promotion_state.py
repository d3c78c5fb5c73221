"""What the decider remembers, and how a decision is written down: a log entry, a new pointer."""

from __future__ import annotations

from typing import Literal

import msgspec

from core.alpha_spending import Spending
from core.canary import Canary
from core.champion_guard import Watch
from core.pairs import Tally
from schemas.ids import derived_id
from schemas.models import Gate, ModelLog, ModelPointer, Publish, Weights

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
    spending: Spending = msgspec.field(default_factory=Spending)
    canary: Canary | None = None
    steps: list[int] = []
    watch: Watch = msgspec.field(default_factory=Watch)
    refused: int = 0

    def point(self, now_ms: int, **changes: str | bool | int | None) -> None:
        """The pointer with these changes, numbered on, with the digests of what it names."""
        pointer = msgspec.structs.replace(
            self.pointer, sequence=self.pointer.sequence + 1, event_time_ms=now_ms, **changes
        )
        named = (
            pointer.champion,
            pointer.challenger,
            pointer.control,
            pointer.previous,
            pointer.canary,
        )
        digests = {
            version: self.candidates[version].manifest_sha256
            for version in named
            if version is not None and version in self.candidates
        }
        self.pointer = msgspec.structs.replace(pointer, manifest_sha256=digests)

    def log(
        self,
        version: str,
        kind: LogKind,
        now_ms: int,
        reason: str = "",
        evidence: dict[str, float] | None = None,
        gate: Gate | None = None,
    ) -> ModelLog:
        """An entry of the history, with an id of its own."""
        self.entries += 1
        known, task = self.candidates.get(version), self.pointer.task
        number = str(self.entries)
        return ModelLog(
            log_id=derived_id("model_log", task, version, kind, str(now_ms), number),
            task=task,
            model_version=version or "none",
            kind=kind,
            event_time_ms=now_ms,
            reason=reason,
            retrain_id=known.retrain_id if known else "",
            evidence=evidence or {},
            gate=gate,
        )


def candidate_of(offer: Publish, version: str, data_until_ms: int) -> Candidate:
    """What is remembered of an offer."""
    return Candidate(
        version=version,
        retrain_id=offer.retrain_id,
        manifest_sha256=offer.manifest_sha256,
        data_until_ms=offer.data_until_ms or data_until_ms,
        ranker=offer.ranker,
    )


def failed_checks(gate: Gate) -> str:
    """Which checks of a gate failed.

    >>> failed_checks(Gate(passed=False))
    'no check passed'
    """
    return ", ".join(check.name for check in gate.checks if not check.passed) or "no check passed"
