"""When an alarm is confirmed or let go, and how it is written down."""

from __future__ import annotations

import msgspec

from core.drift_types import Evidence, Standing
from schemas.metrics import DriftAction, DriftAlarm

SUSTAINED = {
    "unknown_items_cusum": 50,
    "popularity_js": 2,
    "error_cusum": 100,
    "error_adwin": 300,
    "error_scan": 300,
    "click_cusum": 1_000,
    "no_basket_cusum": 100,
}
"""Observations (popularity: tests, clicks: slots) after which an alarm counts, or is let go."""
PARTNER = {
    "error_cusum": "error_adwin",
    "error_adwin": "error_cusum",
    "error_scan": "error_cusum",
}
"""The second detector that confirms the first at once."""
HARDER = "requests became harder: 7-day popularity misses as much more on the same ones"
_PARTNER_ONLY = {"error_adwin", "error_scan"}


def confirm(detector: str, stands: Standing, partner_alarmed: bool) -> str | None:
    """Empty when the alarm is confirmed, why it is let go otherwise, None while it is open.

    >>> confirm("unknown_items_cusum", Standing(over=True, since=50, quiet=False), False)
    ''
    >>> confirm("unknown_items_cusum", Standing(over=False, since=50, quiet=False), False)
    'not sustained over 50 observations'
    """
    needed = SUSTAINED[detector]
    if partner_alarmed:
        return ""
    if stands.quiet:
        return "went quiet"
    if stands.since < needed:
        return None
    if stands.over and detector not in _PARTNER_ONLY:
        return ""
    return f"not sustained over {needed} observations"


def describe(evidence: Evidence) -> str:
    """What a person reads about an alarm that leads to a retraining."""
    seen = evidence.observed
    return (
        f"{evidence.detector} on {evidence.surface}: {seen.baseline:.3f} to {seen.current:.3f}, "
        f"statistic {seen.statistic:.2f} over {seen.threshold:.2f}, n {seen.n}"
    )


def drift_alarm(
    task: str, drift_id: str, evidence: Evidence, let_go: str, action: DriftAction
) -> DriftAlarm:
    """The record of an alarm: confirmed, or suppressed with the reason it was let go."""
    return DriftAlarm(
        drift_id=drift_id,
        task=task,
        surface=evidence.surface,
        model_version=evidence.model_version,
        detector=evidence.detector,
        kind=evidence.kind,
        event_time_ms=evidence.event_time_ms,
        status="suppressed" if let_go else "confirmed",
        reason=let_go,
        action=action,
        effect=evidence.observed.effect,
        **msgspec.structs.asdict(evidence.observed),
    )


def figures(evidence: Evidence) -> dict[str, float]:
    """The figures of an alarm, for a record's evidence."""
    found = {**msgspec.structs.asdict(evidence.observed), "effect": evidence.observed.effect}
    return {name: float(value) for name, value in found.items()}
