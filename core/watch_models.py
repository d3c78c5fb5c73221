"""Conditions about the loop itself: alarms unanswered, trainings that fail, versions that age.

Reads what the stage says at a close and how it stands then; knows neither policy nor decider.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.alerts import Condition
from core.drift_types import Evidence
from core.settings import DAY_MS
from schemas.models import ModelLog, Retrain

FAILURES = 2
REFUSALS = 3
STALE_MS = 120 * DAY_MS
STUCK_MS = DAY_MS
_STUCK_COSTS = 4
_BY_KIND = {"input": "drifted", "concept": "quality_fell"}
_WORDS = {"drifted": "what is bought has moved away", "quality_fell": "more answers miss"}


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How the stage stands at a close.

    `alarms` are those confirmed and not settled, `veto` why data is not to be trusted.
    """

    now_ms: int
    in_flight: Sequence[str] = ()
    alarms: Sequence[Evidence] = ()
    veto: str = ""


class ModelState(msgspec.Struct):
    """Everything that is needed to go on exactly."""

    flights: dict[str, int] = {}
    costs: dict[str, int] = {}
    failures: int = 0
    refusals: int = 0
    promoted_ms: int = -1
    frozen: bool = False
    alarms: dict[str, str] = {}


class ModelWatch:
    """The watch over one task's versions and trainings."""

    def __init__(self, state: ModelState | None = None) -> None:
        self.state = state or ModelState()

    def close(self, said: Sequence[msgspec.Struct], at: Standing) -> list[Condition]:
        """Takes in what one close said; how every condition stands after it."""
        published: set[str] = set()
        for record in said:
            if isinstance(record, ModelLog):
                self._logged(record)
                if record.kind == "published":
                    published.add(record.retrain_id)
            elif isinstance(record, Retrain) and record.state == "accepted":
                self.state.flights[record.retrain_id] = record.event_time_ms
                self.state.costs[record.retrain_id] = record.cost_ms
        self._landed(published, at)
        return [*self._trainings(at), *self._versions(at), *self._alarms(at)]

    def _logged(self, entry: ModelLog) -> None:
        state = self.state
        match entry.kind:
            case "promoted":
                state.refusals, state.promoted_ms = 0, entry.event_time_ms
            case "rejected" if entry.retrain_id:
                state.refusals += 1
            case "frozen" | "unfrozen":
                state.frozen = entry.kind == "frozen"

    def _landed(self, published: set[str], at: Standing) -> None:
        state = self.state
        for retrain_id in sorted(set(state.flights) - set(at.in_flight)):
            del state.flights[retrain_id]
            state.costs.pop(retrain_id, None)
            state.failures = 0 if retrain_id in published else state.failures + 1

    def _trainings(self, at: Standing) -> list[Condition]:
        state = self.state
        waited = {
            retrain_id: at.now_ms - began_ms
            for retrain_id, began_ms in state.flights.items()
            if at.now_ms - began_ms >= max(STUCK_MS, _STUCK_COSTS * state.costs[retrain_id])
        }
        longest_h = max(waited.values(), default=0) / 3_600_000
        return [
            Condition(
                name="training_failed",
                scope="",
                active=state.failures >= FAILURES,
                event_time_ms=at.now_ms,
                summary=f"the last {state.failures} trainings brought no version",
                evidence={"failures": float(state.failures)},
            ),
            Condition(
                name="training_stuck",
                scope="",
                active=bool(waited),
                event_time_ms=at.now_ms,
                summary=f"a training accepted {longest_h:.0f} h ago has not ended",
                evidence={"hours": round(longest_h, 2)},
            ),
        ]

    def _versions(self, at: Standing) -> list[Condition]:
        state, now_ms = self.state, at.now_ms
        aged_ms = now_ms - state.promoted_ms if state.promoted_ms >= 0 else 0
        return [
            Condition(
                name="versions_refused",
                scope="",
                active=state.refusals >= REFUSALS,
                event_time_ms=now_ms,
                summary=f"the last {state.refusals} versions were refused",
                evidence={"refusals": float(state.refusals)},
            ),
            Condition(
                name="learning_frozen",
                scope="",
                active=state.frozen,
                event_time_ms=now_ms,
                summary="the online rankers have been frozen for a day",
            ),
            Condition(
                name="model_stale",
                scope="",
                active=aged_ms >= STALE_MS,
                event_time_ms=now_ms,
                summary=f"the version that answers has done so for {aged_ms // DAY_MS} d",
                evidence={"days": round(aged_ms / DAY_MS, 2)},
            ),
        ]

    def _alarms(self, at: Standing) -> list[Condition]:
        found: dict[str, Condition] = {}
        for alarm in at.alarms:
            name = _BY_KIND.get(alarm.kind)
            if name is not None:
                found.setdefault(f"{name}/{alarm.surface}", _alarm(name, alarm, at.now_ms))
        for key in sorted(set(self.state.alarms) - set(found)):
            name, _, scope = key.partition("/")
            found[key] = Condition(name=name, scope=scope, active=False, event_time_ms=at.now_ms)
        self.state.alarms = {key: "" for key, each in sorted(found.items()) if each.active}
        veto = Condition(
            name="baskets_missing",
            scope="",
            active=bool(at.veto),
            event_time_ms=at.now_ms,
            summary=at.veto,
        )
        return [*found.values(), veto]


def _alarm(name: str, alarm: Evidence, now_ms: int) -> Condition:
    observed = alarm.observed
    return Condition(
        name=name,
        scope=alarm.surface,
        active=True,
        event_time_ms=now_ms,
        summary=f"{_WORDS[name]} on {alarm.surface}, says {alarm.detector}",
        evidence={
            "baseline": observed.baseline,
            "current": observed.current,
            "n": float(observed.n),
        },
    )
