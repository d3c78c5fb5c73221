"""Which version answers: the gate, the shadow, the canary's steps, and operators' orders.

One decider per task writes the pointer that everyone else obeys. It is told of published versions,
of answers, of paired answers and of orders, and says what changed and why. It knows no topics and
no clock.
"""

from __future__ import annotations

from core.canary import Canary
from core.canary_rules import canary_plan, judge_step
from core.champion_guard import champion_breached
from core.metrics import label_delay_ms
from core.offline_rules import judge_offline
from core.pairs import Half, Tally
from core.promotion_rules import Rules, Verdict, judge_shadow
from core.promotion_state import DeciderState as DeciderState
from core.promotion_state import LogKind, candidate_of, failed_checks
from core.settings import Settings
from schemas.models import ModelLog, ModelPointer, Order, Publish
from schemas.outcomes import JudgedList, LabelAge

_ORDERED: dict[str, LogKind] = {
    "pin": "pinned",
    "unpin": "unpinned",
    "freeze": "frozen",
    "unfreeze": "unfrozen",
}
_HISTORY = 8


class Decider:
    """The decider of one task; without answers to shadow, the offline gate decides alone."""

    def __init__(
        self, settings: Settings, state: DeciderState | None = None, *, shadowed: bool = True
    ) -> None:
        self._shadowed_first = shadowed
        empty = ModelPointer(task=settings.task, sequence=0, event_time_ms=0, champion=None)
        self.state = state or DeciderState(empty)
        self._settings = settings
        early = label_delay_ms(settings, "5m") < settings.purchase_window_ms
        self._service_age: LabelAge = "5m" if early else "final"
        self._rules = Rules(
            margin=settings.shadow_margin,
            minimum_n=settings.shadow_minimum_n,
            timeout_ms=settings.shadow_timeout_ms,
            surfaces=settings.surface_names,
            canary_within_ms=settings.canary_within_ms,
            latency_budget_ms=settings.latency_budget_ms,
        )

    @property
    def pointer(self) -> ModelPointer:
        """The pointer as it stands."""
        return self.state.pointer

    def publish(self, offer: Publish, data_until_ms: int, now_ms: int) -> list[ModelLog]:
        """Takes in an offered version: refused by its gate, first champion, or into shadow."""
        version = offer.model_version
        if offer.failed is not None or version is None:
            return []
        if version in self.state.candidates:
            return [self.state.log(version, "rejected", now_ms, "published before")]
        self.state.candidates[version] = candidate_of(offer, version, data_until_ms)
        entries = [
            self.state.log(version, "published", now_ms),
            self.state.log(version, "gate", now_ms, offer.gate.reason, gate=offer.gate),
        ]
        if not offer.gate.passed:
            reason = (
                f"the offline gate refused it: {offer.gate.reason or failed_checks(offer.gate)}"
            )
            self.state.refused += 1
            return [*entries, self.state.log(version, "rejected", now_ms, reason)]
        if not self._shadowed_first:
            return [*entries, self._by_gate(offer, version, now_ms)]
        if self.pointer.champion is None:
            return [*entries, *self._first(version, now_ms)]
        return [*entries, *self._shadow(version, now_ms)]

    def order(self, order: Order, now_ms: int) -> list[ModelLog]:
        """Carries out an operator's order, or says on record why not."""
        by = f"ordered by {order.by or 'an operator'}"
        reason = f"{by}: {order.reason}" if order.reason else by
        canary = self.state.canary
        return self._stopped(canary, self._carried_out(order, reason, now_ms), reason, now_ms)

    def _carried_out(self, order: Order, reason: str, now_ms: int) -> list[ModelLog]:
        version = order.model_version
        if order.action == "promote":
            return self._ordered_promotion(version or self.pointer.challenger, reason, now_ms)
        if order.action == "rollback":
            return self._rollback(reason, now_ms)
        entries: list[ModelLog] = []
        if order.action == "pin" and version is not None and version != self.pointer.champion:
            entries = self._ordered_promotion(version, reason, now_ms)
            if self.pointer.champion != version:
                return entries
        if order.action == "pin":
            self.state.canary = None
            self.state.point(now_ms, pinned=True, canary=None, canary_percent=0)
        elif order.action == "unpin":
            self.state.point(now_ms, pinned=False)
        kind = _ORDERED.get(order.action)
        return (
            [*entries, self.state.log(self.pointer.champion or "", kind, now_ms, reason)]
            if kind
            else []
        )

    def pair(self, surface: str, champion: Half, rival: Half, policy: str) -> None:
        """Takes in two answers to one request: the champion's and the challenger's or control's."""
        state = self.state
        if champion.version != self.pointer.champion:
            return
        if policy == "challenger" and rival.version == self.pointer.challenger:
            state.shadow.setdefault(surface, Tally()).add(champion, rival)
        elif policy == "control" and self.pointer.champion != self.pointer.control:
            state.guard.setdefault(surface, Tally()).add(champion, rival)

    def answered(self, surface: str, version: str, served_ms: int) -> None:
        """Counts one judged answer of the champion since the shadow began."""
        if version == self.pointer.champion and served_ms >= self.state.shadow_from_ms:
            self.state.answered[surface] = self.state.answered.get(surface, 0) + 1

    def served(self, judged: JudgedList, hit: bool | None) -> None:
        """Takes in one statement about an answer to a shopper: how it was served, what came of it.

        Service is known soon after the answer, quality at the final age; `hit` is None when the
        list cannot be judged.
        """
        champion, canary = self.pointer.champion, self.state.canary
        if champion is None:
            return
        if judged.age == self._service_age:
            budget_ms = self._rules.latency_budget_ms
            if canary is not None:
                canary.served(judged, budget_ms)
            if canary is None or not canary.asks(judged.visitor_id):
                self.state.watch.add(judged, champion, budget_ms)
        if judged.age == "final" and canary is not None and hit is not None:
            canary.judged(judged, hit)

    def close(self, now_ms: int) -> list[ModelLog]:
        """Guards the champion, then decides on the challenger or its canary by the evidence."""
        canary = self.state.canary
        guarded = self._guard(now_ms)
        entries = self._stopped(canary, guarded, "the champion was rolled back", now_ms)
        challenger = self.pointer.challenger
        if challenger is None:
            return entries
        if self.state.canary is not None:
            return [*entries, *self._stepped(self.state.canary, now_ms)]
        return [*entries, *self._shadowed(challenger, now_ms)]

    def _shadowed(self, challenger: str, now_ms: int) -> list[ModelLog]:
        state, level = self.state, self.state.spending.alpha
        waited = now_ms - state.shadow_from_ms
        verdict = judge_shadow(self._rules, state.shadow, state.answered, waited, level)
        if self.pointer.pinned and verdict.decision == "promote":
            late = waited >= self._rules.timeout_ms
            reason = "the champion is pinned"
            verdict = Verdict("reject" if late else "wait", reason, verdict.evidence)
        evidence = verdict.evidence | state.spending.figures()
        if verdict.decision == "reject":
            return [self._turned_away(challenger, verdict.reason, now_ms, evidence)]
        if verdict.decision == "wait":
            return []
        plan = canary_plan(self._rules, state.shadow, state.answered, waited, level)
        entry = state.log(
            challenger, "canary", now_ms, plan.reason, plan.evidence | state.spending.figures()
        )
        if not plan.steps:
            return [entry, self._promote(challenger, verdict.reason, now_ms, evidence)]
        state.steps = plan.steps
        self._at_percent(challenger, plan.steps[0], now_ms)
        return [entry]

    def _stepped(self, canary: Canary, now_ms: int) -> list[ModelLog]:
        state, waited = self.state, now_ms - canary.from_ms
        verdict = judge_step(self._rules, canary, waited, state.spending.alpha)
        if verdict.decision == "wait":
            return []
        version, reason = canary.version, verdict.reason
        evidence = verdict.evidence | state.spending.figures()
        if verdict.decision == "reject":
            back = state.log(version, "rolled_back", now_ms, f"canary {reason}", evidence)
            return [back, self._turned_away(version, reason, now_ms, evidence)]
        later = [step for step in state.steps if step > canary.percent]
        if not later:
            passed = state.log(version, "canary", now_ms, f"{reason}; on to all", evidence)
            return [passed, self._promote(version, f"canary passed: {reason}", now_ms, evidence)]
        self._at_percent(version, later[0], now_ms)
        return [state.log(version, "canary", now_ms, f"{reason}; on to {later[0]} %", evidence)]

    def _at_percent(self, version: str, percent: int, now_ms: int) -> None:
        self.state.canary = Canary(version, percent, now_ms)
        self.state.point(now_ms, canary=version, canary_percent=percent)

    def _turned_away(
        self, version: str, reason: str, now_ms: int, evidence: dict[str, float]
    ) -> ModelLog:
        self.state.canary = None
        self.state.point(now_ms, challenger=None, canary=None, canary_percent=0)
        return self.state.log(version, "rejected", now_ms, reason, evidence)

    def _stopped(
        self, canary: Canary | None, entries: list[ModelLog], reason: str, now_ms: int
    ) -> list[ModelLog]:
        """The entries, after one that says that the canary answers nobody any more."""
        if canary is None or self.state.canary is not None:
            return entries
        text = f"stopped at {canary.percent} %: {reason}"
        return [self.state.log(canary.version, "canary", now_ms, text), *entries]

    def _first(self, version: str, now_ms: int) -> list[ModelLog]:
        self.state.first_promoted_ms = now_ms
        entry = self._promote(version, "the first version of the task", now_ms)
        self.state.point(now_ms, control=version)
        return [
            entry,
            self.state.log(version, "control", now_ms, "the first version, kept unchanged"),
        ]

    def _by_gate(self, offer: Publish, version: str, now_ms: int) -> ModelLog:
        verdict = judge_offline(offer, self.pointer)
        if verdict.decision == "promote":
            return self._promote(version, verdict.reason, now_ms, verdict.evidence)
        return self.state.log(version, "rejected", now_ms, verdict.reason, verdict.evidence)

    def _shadow(self, version: str, now_ms: int) -> list[ModelLog]:
        entries, former = [], self.pointer.challenger
        if former is not None:
            reason = f"superseded by {version} before it was judged"
            entries.append(self._turned_away(former, reason, now_ms, {}))
        self.state.shadow, self.state.answered = {}, {}
        self.state.shadow_from_ms = now_ms
        settings = self._settings
        self.state.spending.begin(
            now_ms, settings.promotion_alpha, settings.promotion_alpha_period_ms
        )
        self.state.point(now_ms, challenger=version)
        return [*entries, self.state.log(version, "shadow", now_ms, "judged beside the champion")]

    def _ordered_promotion(self, version: str | None, reason: str, now_ms: int) -> list[ModelLog]:
        if version is None or version not in self.state.candidates:
            text = f"{reason}; not done: no such version was published"
            return [self.state.log(version or "", "rejected", now_ms, text)]
        if version == self.pointer.champion:
            return []
        return [self._promote(version, reason, now_ms)]

    def _rollback(
        self, reason: str, now_ms: int, evidence: dict[str, float] | None = None
    ) -> list[ModelLog]:
        previous, champion = self.pointer.previous, self.pointer.champion
        if previous is None or champion is None:
            text = f"{reason}; not done: there is no former version"
            return [self.state.log(champion or "", "rejected", now_ms, text)]
        self.state.history.pop()
        self._become(previous, now_ms, pinned=True)
        text = f"{reason}; back to {previous}, pinned"
        return [
            self.state.log(champion, "rolled_back", now_ms, text, evidence),
            self.state.log(previous, "pinned", now_ms, reason),
        ]

    def _promote(
        self, version: str, reason: str, now_ms: int, evidence: dict[str, float] | None = None
    ) -> ModelLog:
        if self.pointer.champion is not None:
            self.state.history = [*self.state.history, self.pointer.champion][-_HISTORY:]
        self.state.refused = 0
        self._become(version, now_ms, pinned=self.pointer.pinned)
        return self.state.log(version, "promoted", now_ms, reason, evidence)

    def _become(self, version: str, now_ms: int, *, pinned: bool) -> None:
        state = self.state
        previous = state.history[-1] if state.history else None
        challenger = None if self.pointer.challenger == version else self.pointer.challenger
        state.guard, state.shadow, state.answered = {}, {}, {}
        state.shadow_from_ms, state.canary = now_ms, None
        state.watch = state.watch.swapped(now_ms)
        state.point(
            now_ms,
            champion=version,
            previous=previous,
            challenger=challenger,
            pinned=pinned,
            canary=None,
            canary_percent=0,
        )

    def _guard(self, now_ms: int) -> list[ModelLog]:
        breach = champion_breached(self._rules, self.state.guard, self.state.watch)
        if breach is None or self.pointer.previous is None or self.pointer.pinned:
            return []
        return self._rollback(breach.reason, now_ms, breach.evidence)
