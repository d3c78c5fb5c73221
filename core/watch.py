"""Everything that the task stage watches for an operator's sake, and the alerts that follow.

Traffic, answers and versions each have a file of their own; here their conditions meet the state
machine. Event time only: the same records give the same alerts.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from core.alerts import Alerts, Condition
from core.alerts import Standing as AlertStanding
from core.anomalies_service import DEGRADED, SLOW, SPAN_MS, Promise, ServiceSpans
from core.label_plan import plan, windows_of
from core.metrics import LOOP
from core.settings import Settings
from core.watch_models import ModelState, ModelWatch, Standing
from core.watch_traffic import TrafficState, TrafficWatch
from schemas.metrics import Alert
from schemas.outcomes import BasketSeen, JudgedList, TrafficSeen
from schemas.predictions import SERVED_ARMS


class SavedWatch(msgspec.Struct):
    """Everything that is needed to go on exactly; `service` by "alert/surface"."""

    alerts: dict[str, AlertStanding] = {}
    traffic: TrafficState = msgspec.field(default_factory=TrafficState)
    models: ModelState = msgspec.field(default_factory=ModelState)
    service: dict[str, ServiceSpans] = {}
    waiting: list[Condition] = []


class Watch:
    """The watch of one task."""

    def __init__(self, settings: Settings, saved: SavedWatch | None = None) -> None:
        saved = saved or SavedWatch()
        self._alerts = Alerts(settings.task, saved.alerts, settings.runbook)
        self._traffic = TrafficWatch(saved.traffic)
        self._models = ModelWatch(saved.models)
        self._service = saved.service
        self._waiting = saved.waiting
        self._slow_ms = settings.latency_budget_ms
        self._first_age = plan(True, windows_of(settings)).ages[0]

    def traffic(self, record: TrafficSeen) -> None:
        """Takes in what a visitor partition saw."""
        self._waiting.extend(self._traffic.seen(record))

    def basket(self, record: BasketSeen) -> None:
        """Takes in one order."""
        self._waiting.extend(self._traffic.ordered(record))

    def judged(self, judged: JudgedList) -> None:
        """Takes in how an answer was served, once: at its first label age.

        Before a first version has answered, that answers are degraded is no news.
        """
        served = judged.policy == LOOP and judged.arm in SERVED_ARMS
        began_ms = self._models.state.promoted_ms
        if not served or judged.age != self._first_age or not 0 <= began_ms <= judged.served_at_ms:
            return
        slow = judged.latency_ms > self._slow_ms
        self._served("answers_slow", SLOW, judged, slow)
        self._served("answers_degraded", DEGRADED, judged, judged.degraded)

    def leaves_out(self, record: JudgedList | BasketSeen) -> bool:
        """Whether the record is of a visitor who behaves like a program."""
        at_ms = record.event_time_ms if isinstance(record, BasketSeen) else record.served_at_ms
        return self._traffic.leaves_out(record.visitor_id, at_ms)

    def close(self, said: Sequence[msgspec.Struct], standing: Standing) -> list[Alert]:
        """What is raised and cleared, after everything that this close said."""
        if standing.now_ms <= 0:
            return []
        found = [*self._models.close(said, standing), *self._traffic.close(standing.now_ms)]
        known = [each for each in found if each.active or self._alerts.knows(each.name, each.scope)]
        conditions, self._waiting = [*self._waiting, *known], []
        return self._alerts.step(conditions)

    def save(self) -> SavedWatch:
        """State as plain values."""
        return SavedWatch(
            alerts=self._alerts.state,
            traffic=self._traffic.state,
            models=self._models.state,
            service=self._service,
            waiting=self._waiting,
        )

    def _served(self, name: str, promise: Promise, judged: JudgedList, bad: bool) -> None:
        spans = self._service.setdefault(
            f"{name}/{judged.surface}", ServiceSpans(promised=promise.share)
        )
        at_ms = judged.served_at_ms
        verdict = spans.add(at_ms, bad)
        if verdict is None:
            return
        share, n = spans.share()
        word = "slow" if name == "answers_slow" else "degraded"
        self._waiting.append(
            Condition(
                name=name,
                scope=judged.surface,
                active=verdict,
                event_time_ms=at_ms - at_ms % SPAN_MS,
                summary=f"{share:.1%} of answers on {judged.surface} are {word}, "
                f"{promise.share:.0%} are promised at most",
                evidence={"share": round(share, 6), "promised": promise.share, "n": float(n)},
            )
        )
