"""One walk over Online Retail for every schedule: weekly, when drift says so, and never.

Test, then train: the loop of `python -m bench floor`, with two live sequence models side by side.
Both schedules start from the same first version; each has an online ranker of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.floor import BURN_IN_MS, TRAINING_COST_MS, first_version
from bench.floor_data import WEEK_MS, Session, in_batches
from bench.floor_loop import SURFACES, Judged, LearnedPolicy, Loop
from bench.floor_models import FRESH_WEEKS, Recipes, Scorer, train
from bench.trainer_retail_drift import Trigger
from bench.trainer_retail_peers import Asked
from bench.trainer_retail_static import Static
from core.candidates import Ask, visitor_of
from core.ranker import OnlineRanker
from core.ranking import RankerWeights
from core.shop_state import ShopState
from trainer.recommend.recipes import FRESH_AT_LEAST_MS, FRESH_AT_MOST_MS

BATCH_MS = 2 * 3_600_000
LOOP, TRIGGERED, CONTROL = "loop", "triggered", "control"


@dataclass
class Walked:
    """What a walk leaves: verdicts, when each schedule trained, and what the peers are asked."""

    judged: list[Judged]
    weekly_ms: list[int]
    trigger: Trigger
    asked: Asked


class Walk:
    """State and models of all schedules at one point of the walk."""

    def __init__(self, found: list[Session], start_ms: int, recipes: Recipes) -> None:
        self.found, self.start_ms, self.recipes = found, start_ms, recipes
        state, first, initial = first_version(found, start_ms, recipes)
        self.frozen = self.weekly = self.triggered = first
        self.data_until_ms = start_ms
        self.loop = Loop(state, _policies(initial, start_ms + BURN_IN_MS))
        copy = ShopState.from_bytes(state.to_bytes())
        self.static = Static(copy, first, initial, start_ms - 1)
        self.done = Walked(self.loop.judged, [], Trigger(), Asked(start_ms))
        for session in found:
            if session.past.at_ms < start_ms:
                self.done.trigger.basket(session)
                self.done.asked.put(session)
        self.done.trigger.start(start_ms)

    def run(self, asked_from_ms: int) -> Walked:
        """Walks to the end; peers and the static shop are asked from `asked_from_ms` on."""
        judged = [s for s in self.found if s.past.at_ms >= self.start_ms]
        for batch in in_batches(judged, BATCH_MS):
            self._retrain(batch[0].past.at_ms)
            self._answer(batch, batch[0].past.at_ms >= asked_from_ms)
            for session in batch:
                self.done.trigger.basket(session)
                self.done.asked.put(session)
        return self.done

    def _retrain(self, now_ms: int) -> None:
        due_ms = self.start_ms + (len(self.done.weekly_ms) + 1) * WEEK_MS
        if now_ms >= due_ms + TRAINING_COST_MS:
            week = len(self.done.weekly_ms) + 1
            fresh_ms = due_ms - FRESH_WEEKS * WEEK_MS
            recipe = self.recipes.of_week(week)
            self.weekly = Scorer(train(self.found, due_ms, recipe, self.weekly.model, fresh_ms))
            self.done.weekly_ms.append(due_ms)
        if self.done.trigger.barrier(now_ms):
            count = len(self.done.trigger.trainings)
            at_ms = self.done.trigger.trainings[count - 1].at_ms
            unseen_ms = min(max(at_ms - self.data_until_ms, FRESH_AT_LEAST_MS), FRESH_AT_MOST_MS)
            recipe = self.recipes.of_week(count)
            parent = self.triggered.model
            self.triggered = Scorer(train(self.found, at_ms, recipe, parent, at_ms - unseen_ms))
            self.data_until_ms = at_ms

    def _answer(self, batch: list[Session], others: bool) -> None:
        asked = self.loop.asked(batch)
        self.done.asked.week(batch[0].past.at_ms)
        if others:
            for session in asked:
                self.done.asked.ask(session)
                self._static(session)
        histories = [self.loop.state.history(s.past.visitor_id) for s in asked]
        scorers = {"live": self.weekly, "frozen": self.frozen, TRIGGERED: self.triggered}
        before = len(self.loop.judged)
        self.loop.step(batch, {name: s.scores(histories) for name, s in scorers.items()})
        for verdict in self.loop.judged[before:]:
            if verdict.policy == TRIGGERED:
                self.done.trigger.answered(verdict)

    def _static(self, session: Session) -> None:
        state = self.loop.state
        visitor = visitor_of(state, Ask(session.past.visitor_id, "home", 0))
        bought = frozenset(state.catalogue.item_ids[row] for row in visitor.bought_rows())
        for surface in SURFACES:
            verdict = self.static.judged(session, surface, bought)
            if verdict is not None:
                self.loop.judged.append(verdict)


def _policies(initial: dict[str, RankerWeights], burn_in_end_ms: int) -> list[LearnedPolicy]:
    def rankers() -> dict[str, OnlineRanker]:
        return {s: OnlineRanker.from_weights(w) for s, w in initial.items()}

    return [
        LearnedPolicy(LOOP, "live", rankers()),
        LearnedPolicy(TRIGGERED, TRIGGERED, rankers()),
        LearnedPolicy(CONTROL, "frozen", rankers(), frozen_at_ms=burn_in_end_ms),
    ]
