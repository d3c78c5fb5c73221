"""What follows from an alarm of each kind: input, label and concept drift ask for different things.

Input drift: what is bought moved away from what the champion knows, so a version on newer data.
Concept drift: the same inputs are answered worse, so a new version too, unless requests became
harder for an untrained rule as well; then no training helps and the level is learned anew.
Label drift: fewer answers are followed by any basket, which a failed tracker looks like, so nothing
is trained on such labels. What stood for a week is no outage: the base rate is learned anew. The
online ranker follows a base rate by itself, with every judged list.
"""

from __future__ import annotations

from core.settings import DAY_MS
from schemas.metrics import DriftAction, DriftKind
from schemas.models import RetrainKind

LABEL_HOLD_MS = 7 * DAY_MS
"""How long label drift holds retraining up before it is taken as the shop's new base rate."""
NEW_BASE_RATE = "stood for a week: taken as the base rate from now on"

_RETRAIN: dict[DriftKind, RetrainKind] = {"input": "drift_input", "concept": "drift_error"}


def action_of(kind: DriftKind, *, harder: bool = False, stood_ms: int = 0) -> DriftAction:
    """What a confirmed alarm asks for.

    Args:
        kind: what drifted.
        harder: whether an untrained rule misses as much more on the same requests.
        stood_ms: event time since the alarm.

    >>> [action_of(kind) for kind in ("input", "label", "concept")]
    ['retrain', 'hold', 'retrain']
    >>> action_of("concept", harder=True), action_of("label", stood_ms=8 * DAY_MS)
    ('relearn', 'relearn')
    """
    if kind == "label":
        return "relearn" if stood_ms >= LABEL_HOLD_MS else "hold"
    if kind == "concept" and harder:
        return "relearn"
    return "retrain"


def retrain_kind(kind: DriftKind) -> RetrainKind | None:
    """The kind of training that an alarm asks for, none where it asks for none.

    >>> retrain_kind("input"), retrain_kind("label")
    ('drift_input', None)
    """
    return _RETRAIN.get(kind)
