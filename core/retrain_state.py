"""What the retrain policy remembers and is told, and how one statement of it is written down."""

from __future__ import annotations

import msgspec

from core.drift_types import Evidence
from core.retrain_rules import figures
from core.settings import DAY_MS, Settings
from core.tuning_policy import why_search
from schemas.ids import derived_id
from schemas.models import Retrain, RetrainKind, RetrainState

ABANDONED_MS = 7 * DAY_MS
"""A training without a version or a failure for so long is given up, so that others may begin."""


class Cause(msgspec.Struct):
    """A wish to retrain and what was said about it: an alarm, or the schedule's turn."""

    drift_id: str
    evidence: Evidence | None = None
    confirmed: bool = False
    said: list[str] = []
    attempt: int = 0
    retrain_id: str | None = None
    tune: bool = False


class InFlight(msgspec.Struct, frozen=True):
    """A retraining that was accepted and whose version has not come."""

    kind: RetrainKind
    accepted_ms: int
    data_until_ms: int


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What the decider says at this moment."""

    now_ms: int
    champion: str | None
    challenger: str | None
    pinned: bool
    veto: str = ""
    refused: int = 0


class PolicyState(msgspec.Struct):
    """Everything that is needed to go on exactly."""

    causes: dict[str, Cause] = {}
    in_flight: dict[str, InFlight] = {}
    accepted_ms: list[int] = []
    swapped_ms: int = 0
    labels: int = 0
    outdated: list[Cause] = []


def statement(
    settings: Settings,
    cause: Cause,
    kind: RetrainKind,
    state: RetrainState,
    reason: str,
    at: Situation,
) -> Retrain:
    """One statement about the retraining that a cause asks for."""
    task, alarm = settings.task, cause.evidence
    search = why_search(
        first=at.champion is None,
        refused=at.refused,
        drift=alarm.kind if alarm else None,
        asked=cause.tune,
    )
    return Retrain(
        retrain_id=derived_id("retrain", task, kind, cause.drift_id, str(cause.attempt)),
        task=task,
        state=state,
        kind=kind,
        reason=reason,
        event_time_ms=at.now_ms,
        data_until_ms=at.now_ms,
        parent_version=at.champion,
        drift_id=cause.drift_id if alarm else None,
        evidence=figures(alarm) if alarm else {},
        cost_ms=settings.training_cost_ms,
        search=search if state == "accepted" else "",
    )


def abandoned(settings: Settings, retrain_id: str, flight: InFlight, at: Situation) -> Retrain:
    """The statement that a training in flight is no longer waited for."""
    return Retrain(
        retrain_id=retrain_id,
        task=settings.task,
        state="failed",
        kind=flight.kind,
        reason=f"abandoned: neither version nor failure within {days(ABANDONED_MS)}",
        event_time_ms=at.now_ms,
        data_until_ms=flight.data_until_ms,
        parent_version=at.champion,
        cost_ms=settings.training_cost_ms,
    )


def days(span_ms: int) -> str:
    """A span as a person reads it.

    >>> days(36 * 3_600_000)
    '1.5 d'
    """
    return f"{span_ms / DAY_MS:g} d"
