"""How a task's stage stands: what the retrain policy goes by, and what the watch looks at."""

from __future__ import annotations

from core.drift import Drift
from core.promotion import Decider
from core.retrain_policy import RetrainPolicy, Situation
from core.watch_models import Standing


def situation(now_ms: int, decider: Decider, drift: Drift) -> Situation:
    """What is in force, and what speaks against a training now."""
    pointer = decider.pointer
    return Situation(
        now_ms=now_ms,
        champion=pointer.champion,
        challenger=pointer.challenger,
        pinned=pointer.pinned,
        veto=drift.no_basket(),
        refused=decider.state.refused,
    )


def standing(now_ms: int, policy: RetrainPolicy, drift: Drift) -> Standing:
    """What is under way, and which alarms wait for an answer."""
    causes = policy.state.causes.values()
    return Standing(
        now_ms=now_ms,
        in_flight=sorted(policy.state.in_flight),
        alarms=[each.evidence for each in causes if each.confirmed and each.evidence],
        veto=drift.no_basket(),
    )
