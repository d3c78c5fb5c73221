"""Alerts as a state machine: conditions in; out comes what is raised and cleared, once each.

A condition says of one (name, scope) whether it holds at an event time. One that holds long enough
is raised, one that is gone long enough is cleared; nothing is said twice. Conditions of one key
that are older than the newest taken in change nothing. Knows no topic and no clock.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from core.alert_rules import RULES, RUNBOOK, runbook_of
from schemas.ids import derived_id
from schemas.metrics import Alert

_ORDER = {name: place for place, name in enumerate(RULES)}


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """Whether something holds, what it is about, and the figures behind it."""

    name: str
    scope: str
    active: bool
    event_time_ms: int
    summary: str = ""
    evidence: dict[str, float] = {}


class Standing(msgspec.Struct):
    """Where one (name, scope) stands. `raised` is what was said last while the alert is open."""

    newest_ms: int
    active: bool
    since_ms: int
    raised: Alert | None = None
    cleared_ms: int = -1


class Alerts:
    """Alerts of one task by "name/scope"; `state` is everything needed to go on exactly."""

    def __init__(
        self, task: str, state: dict[str, Standing] | None = None, runbook: str = RUNBOOK
    ) -> None:
        self._task = task
        self._runbook = runbook
        self.state: dict[str, Standing] = state or {}

    def step(self, conditions: Iterable[Condition]) -> list[Alert]:
        """Takes in conditions, in event-time order whatever order they come in.

        >>> alerts = Alerts("recommend")
        >>> bad = Condition(name="burst", scope="events", active=True, event_time_ms=1)
        >>> [said.state for said in alerts.step([bad, bad])]
        ['raised']
        >>> gone = msgspec.structs.replace(bad, active=False, event_time_ms=2)
        >>> later = msgspec.structs.replace(gone, event_time_ms=3_600_002)
        >>> [(said.state, said.raised_at_ms) for said in alerts.step([later, gone])]
        [('cleared', 1)]
        """
        said: list[Alert] = []
        for condition in sorted(conditions, key=_order):
            said.extend(self._take(condition))
        return said

    def knows(self, name: str, scope: str) -> bool:
        """Whether the condition has held at some time, so that its end would matter."""
        return f"{name}/{scope}" in self.state

    def open(self) -> list[Alert]:
        """What is raised and not cleared, in the order of the rules."""
        found = [standing.raised for standing in self.state.values() if standing.raised]
        return sorted(found, key=lambda alert: (_ORDER[alert.name], alert.scope))

    def _take(self, condition: Condition) -> list[Alert]:
        key, now_ms = f"{condition.name}/{condition.scope}", condition.event_time_ms
        stands = self.state.get(key)
        if stands is None:
            if not condition.active:
                return []
            stands = self.state[key] = Standing(now_ms, True, now_ms)
        if now_ms < stands.newest_ms:
            return []
        stands.newest_ms = now_ms
        if condition.active != stands.active:
            stands.active, stands.since_ms = condition.active, now_ms
        held_ms = now_ms - stands.since_ms
        rule = RULES[condition.name]
        if stands.raised is None:
            due = stands.active and held_ms >= rule.for_ms and now_ms > stands.cleared_ms
            return [self._raise(stands, condition)] if due else []
        if stands.active:
            return self._lift(stands, condition)
        return [_cleared(stands, now_ms)] if held_ms >= rule.clear_ms else []

    def _raise(self, stands: Standing, condition: Condition) -> Alert:
        name, scope, now_ms = condition.name, condition.scope, condition.event_time_ms
        stands.raised = Alert(
            alert_id=derived_id("alert", self._task, name, scope, str(now_ms)),
            name=name,
            severity=RULES[name].severity,
            state="raised",
            event_time_ms=now_ms,
            summary=condition.summary,
            evidence=condition.evidence,
            task=self._task,
            scope=scope,
            runbook=runbook_of(name, self._runbook),
            inhibited_by=self._inhibitors(name),
            raised_at_ms=now_ms,
        )
        return stands.raised

    def _lift(self, stands: Standing, condition: Condition) -> list[Alert]:
        """Says an inhibited alert once more when nothing explains it any longer."""
        raised = stands.raised
        if raised is None or not raised.inhibited_by or self._inhibitors(raised.name):
            return []
        stands.raised = msgspec.structs.replace(
            raised, inhibited_by=[], event_time_ms=condition.event_time_ms
        )
        return [stands.raised]

    def _inhibitors(self, name: str) -> list[str]:
        """The open alerts that explain this one and are not explained themselves."""
        by = RULES[name].inhibited_by
        return [
            f"{alert.name}/{alert.scope}" if alert.scope else alert.name
            for alert in self.open()
            if alert.name in by and not alert.inhibited_by
        ]


def _cleared(stands: Standing, now_ms: int) -> Alert:
    assert stands.raised is not None
    alert = msgspec.structs.replace(stands.raised, state="cleared", event_time_ms=now_ms)
    stands.raised, stands.cleared_ms = None, now_ms
    return alert


def _order(condition: Condition) -> tuple[int, int, str, bool]:
    return (
        condition.event_time_ms,
        _ORDER[condition.name],
        condition.scope,
        condition.active,
    )
