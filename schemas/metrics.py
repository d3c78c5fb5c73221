"""Windowed measures (`metrics`), detector alarms (`drift`) and alerts (`alerts`)."""

from typing import Literal

import msgspec

from schemas.events import Id, Millis
from schemas.outcomes import LabelAge

DriftKind = Literal["input", "label", "concept"]
DriftAction = Literal["retrain", "hold", "relearn", "none"]


class Metric(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One figure over one event-time window, with its count and 95 % interval.

    `revision` rises as a window fills; `closed` says that the window will not change any more.
    Id: derived from (task, surface, policy, model_version, arm, age, name, window, revision).
    """

    metric_id: Id
    task: Id
    surface: str
    policy: str
    model_version: str
    arm: str
    age: LabelAge
    name: str
    window_start_ms: Millis
    window_end_ms: Millis
    value: float
    n: int
    low: float
    high: float
    revision: int = 0
    closed: bool = False


class DriftAlarm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A detector's alarm with its evidence; `status` says whether the policy acted on it.

    `action` is what the alarm asks for: retrain, hold (train on nothing while it stands), relearn
    (take the present level as normal), or none, where it was let go.
    """

    drift_id: Id
    task: Id
    surface: str
    model_version: str
    detector: str
    kind: DriftKind
    event_time_ms: Millis
    statistic: float
    threshold: float
    baseline: float
    current: float
    effect: float
    n: int
    minimum_detectable: float
    status: Literal["confirmed", "suppressed"]
    reason: str = ""
    action: DriftAction = "none"


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something an operator should know: raised once, cleared once.

    `scope` says what it is about (a surface, a series), `runbook` where to read what to do. One
    that other open alerts explain names them in `inhibited_by` and is told to nobody; when they
    are cleared before it, it is said once more without them. Id: derived from (task, name, scope,
    raised_at_ms).
    """

    alert_id: Id
    name: str
    severity: Literal["page", "ticket"]
    state: Literal["raised", "cleared"]
    event_time_ms: Millis
    summary: str
    evidence: dict[str, float] = {}
    task: str = ""
    scope: str = ""
    runbook: str = ""
    inhibited_by: list[str] = []
    raised_at_ms: Millis = 0
