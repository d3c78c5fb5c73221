"""When to retrain: alarms are confirmed, then held against every reason not to, in order.

Each refusal is a record with its reason, once per alarm and reason. The policy knows event time,
what is in flight and who is champion; it knows neither detectors nor trainers.
"""

from __future__ import annotations

from typing import Protocol

from core.drift_actions import NEW_BASE_RATE, action_of, retrain_kind
from core.drift_types import Evidence, Standing
from core.retrain_rules import HARDER, PARTNER, confirm, describe, drift_alarm
from core.retrain_state import ABANDONED_MS, Cause, InFlight, abandoned, days, statement
from core.retrain_state import PolicyState as PolicyState
from core.retrain_state import Situation as Situation
from core.settings import DAY_MS, Settings
from schemas.ids import derived_id
from schemas.metrics import DriftAction, DriftAlarm, DriftKind
from schemas.models import Order, Retrain, RetrainKind, RetrainState


class Detectors(Protocol):
    """What the policy asks of the detectors."""

    def standing(self, surface: str, detector: str) -> Standing:
        """How a detector stands since its alarm."""

    def rearm(self, surface: str, detector: str) -> None:
        """Lets it alarm again."""

    def became_harder(self, surface: str) -> bool:
        """Whether an untrained rule misses as much more on the same requests."""

    def relearn(self, surface: str, kind: DriftKind) -> None:
        """Takes the present level, of errors or of labels, as the one to compare with."""


class RetrainPolicy:
    """The policy of one task."""

    def __init__(self, settings: Settings, state: PolicyState | None = None) -> None:
        self.settings = settings
        self.state = state or PolicyState()

    def raised(self, evidence: Evidence) -> None:
        """Takes in a new alarm; it stays open until it is let go, quiet, or the champion goes."""
        observed_at = str(evidence.event_time_ms)
        key = f"{evidence.surface}/{evidence.detector}"
        drift_id = derived_id("drift", self.settings.task, key, evidence.model_version, observed_at)
        self.state.causes[key] = Cause(drift_id, evidence)

    def swapped(self, now_ms: int) -> None:
        """A new champion answers: alarms about the former one are over, on record."""
        self.state.outdated += [cause for _, cause in self._alarms() if cause.retrain_id is None]
        self.state.causes.clear()
        self.state.swapped_ms = now_ms

    def finished(self, retrain_id: str) -> InFlight | None:
        """A training ended, with a version or without."""
        return self.state.in_flight.pop(retrain_id, None)

    def rejected(self, retrain_id: str) -> None:
        """Its version will not be champion: the alarm behind it asks again, as a new attempt."""
        for cause in self.state.causes.values():
            if cause.retrain_id == retrain_id:
                cause.retrain_id, cause.said = None, []
                cause.attempt += 1

    def ordered(self, order: Order, situation: Situation) -> list[Retrain]:
        """An operator's order to retrain: nothing holds it up but a training in flight."""
        cause = Cause(order.command_id, tune=order.tune)
        kind: RetrainKind = order.retrain_kind
        if self.state.in_flight:
            return [self._say(cause, kind, "suppressed", self._merged(), situation)]
        return [self._accept(cause, kind, order.reason or f"ordered ({kind})", situation)]

    def close(
        self,
        situation: Situation,
        detectors: Detectors,
    ) -> list[DriftAlarm | Retrain]:
        """Confirms or lets go open alarms, then accepts at most one retraining."""
        records: list[DriftAlarm | Retrain] = [
            *self.abandoned(situation),
            *self._outdated(situation),
        ]
        waiting = [each for each in self._alarms() if each[1].confirmed]
        for key, cause in self._alarms():
            records.extend(self._settle(key, cause, situation.now_ms, detectors))
        for _, cause in self._alarms():
            if cause.confirmed and cause.retrain_id is None:
                records.extend(self._weigh(cause, situation))
        for key, cause in waiting:
            if key not in self.state.causes:
                records.extend(self._ended(cause, "went_quiet: the alarm ended", situation))
        records.extend(self._scheduled(situation))
        return records

    def _ended(self, cause: Cause, why: str, situation: Situation) -> list[DriftAlarm | Retrain]:
        """What is said of a confirmed alarm that ended before a training began."""
        kind = retrain_kind(cause.evidence.kind) if cause.evidence else None
        if kind is None or cause.retrain_id is not None:
            return []
        return self._refuse(cause, kind, why, situation)

    def _outdated(self, situation: Situation) -> list[DriftAlarm | Retrain]:
        """What is said of alarms about a former champion."""
        records: list[DriftAlarm | Retrain] = []
        for cause in self.state.outdated:
            why = "champion_changed: the alarm was about the former"
            if cause.confirmed:
                records.extend(self._ended(cause, why, situation))
            elif cause.evidence is not None:
                task = self.settings.task
                records.append(drift_alarm(task, cause.drift_id, cause.evidence, why, "none"))
        self.state.outdated = []
        return records

    def abandoned(self, situation: Situation) -> list[Retrain]:
        """Gives up trainings that nobody answers, so that others may begin."""
        records: list[Retrain] = []
        for retrain_id, flight in sorted(self.state.in_flight.items()):
            if situation.now_ms - flight.accepted_ms >= ABANDONED_MS:
                records.append(abandoned(self.settings, retrain_id, flight, situation))
                self.finished(retrain_id)
                self.rejected(retrain_id)
        return records

    def _alarms(self) -> list[tuple[str, Cause]]:
        found = [(k, c) for k, c in self.state.causes.items() if c.evidence is not None]
        return sorted(found, key=lambda pair: (_raised_ms(pair[1]), pair[0]))

    def _settle(
        self,
        key: str,
        cause: Cause,
        now_ms: int,
        detectors: Detectors,
    ) -> list[DriftAlarm | Retrain]:
        evidence = cause.evidence
        assert evidence is not None
        stands = detectors.standing(evidence.surface, evidence.detector)
        if cause.confirmed:
            return self._stands(key, cause, now_ms, detectors)
        partner = f"{evidence.surface}/{PARTNER.get(evidence.detector)}"
        verdict = confirm(evidence.detector, stands, partner in self.state.causes)
        if verdict is None:
            return []
        action: DriftAction = "none"
        if verdict:
            detectors.rearm(evidence.surface, evidence.detector)
        else:
            concept = evidence.kind == "concept"
            harder = concept and detectors.became_harder(evidence.surface)
            action = action_of(evidence.kind, harder=harder)
        if action == "relearn":
            verdict = HARDER
            detectors.relearn(evidence.surface, evidence.kind)
        cause.confirmed = not verdict
        if verdict:
            del self.state.causes[key]
        return [drift_alarm(self.settings.task, cause.drift_id, evidence, verdict, action)]

    def _stands(
        self, key: str, cause: Cause, now_ms: int, detectors: Detectors
    ) -> list[DriftAlarm | Retrain]:
        """A confirmed alarm ends when its detector is quiet or its level is taken as normal."""
        evidence = cause.evidence
        assert evidence is not None
        if detectors.standing(evidence.surface, evidence.detector).quiet:
            if cause.retrain_id is None:
                del self.state.causes[key]
            return []
        action = action_of(evidence.kind, stood_ms=now_ms - evidence.event_time_ms)
        if action != "relearn":
            return []
        detectors.relearn(evidence.surface, evidence.kind)
        del self.state.causes[key]
        drift_id = derived_id("drift", cause.drift_id, action)
        return [drift_alarm(self.settings.task, drift_id, evidence, NEW_BASE_RATE, action)]

    def _weigh(self, cause: Cause, situation: Situation) -> list[DriftAlarm | Retrain]:
        evidence = cause.evidence
        assert evidence is not None
        kind = retrain_kind(evidence.kind)
        if kind is None:
            return []
        against = self._against(situation)
        if not against:
            return [self._accept(cause, kind, describe(evidence), situation)]
        return self._refuse(cause, kind, against, situation)

    def _refuse(
        self, cause: Cause, kind: RetrainKind, against: str, situation: Situation
    ) -> list[DriftAlarm | Retrain]:
        word = against.partition(":")[0]
        if word in cause.said:
            return []
        cause.said.append(word)
        return [self._say(cause, kind, "suppressed", against, situation)]

    def _against(self, situation: Situation) -> str:
        """The first reason not to retrain now, or nothing."""
        s, now, state = self.settings, situation.now_ms, self.state
        newest = max(state.accepted_ms, default=None)
        today = sum(now - at < DAY_MS for at in state.accepted_ms)
        reasons = (
            (situation.pinned, "pinned: the champion is held by an operator"),
            (bool(situation.veto), f"data_quality: {situation.veto}"),
            (bool(state.in_flight), self._merged()),
            (
                situation.challenger is not None,
                f"challenger_in_shadow: {situation.challenger} is being judged",
            ),
            (
                0 <= now - state.swapped_ms < s.retrain_refractory_ms and state.swapped_ms > 0,
                f"refractory: {days(s.retrain_refractory_ms)} after a swap",
            ),
            (
                newest is not None and now - newest < s.retrain_cooldown_ms,
                f"cooldown: {days(s.retrain_cooldown_ms)} between retrainings",
            ),
            (today >= s.retrain_daily_budget, f"daily_budget: {s.retrain_daily_budget} a day"),
            (
                state.labels < s.retrain_minimum_labels,
                f"too_few_labels: {state.labels} new, at least {s.retrain_minimum_labels}",
            ),
        )
        return next((text for holds, text in reasons if holds), "")

    def _merged(self) -> str:
        return f"in_flight: merged into {', '.join(sorted(self.state.in_flight))}"

    def _scheduled(self, situation: Situation) -> list[DriftAlarm | Retrain]:
        every = self.settings.retrain_schedule_ms
        newest = max(self.state.accepted_ms, default=None)
        if every <= 0 or newest is None or situation.now_ms - newest < every:
            return []
        cause = self.state.causes.setdefault(
            "schedule", Cause(derived_id("schedule", self.settings.task, str(newest)))
        )
        against = self._against(situation)
        if against:
            return self._refuse(cause, "schedule", against, situation)
        del self.state.causes["schedule"]
        return [self._accept(cause, "schedule", f"{days(every)} since the last one", situation)]

    def _accept(
        self, cause: Cause, kind: RetrainKind, reason: str, situation: Situation
    ) -> Retrain:
        record = self._say(cause, kind, "accepted", reason, situation)
        state, now = self.state, situation.now_ms
        cause.retrain_id = record.retrain_id
        state.in_flight[record.retrain_id] = InFlight(kind, now, now)
        state.accepted_ms = [at for at in state.accepted_ms if now - at < DAY_MS] + [now]
        state.labels = 0
        return record

    def _say(
        self, cause: Cause, kind: RetrainKind, state: RetrainState, reason: str, at: Situation
    ) -> Retrain:
        return statement(self.settings, cause, kind, state, reason, at)


def _raised_ms(cause: Cause) -> int:
    return cause.evidence.event_time_ms if cause.evidence else 0
