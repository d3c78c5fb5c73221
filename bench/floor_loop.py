"""The in-process loop: every known customer's session is asked about, judged, then learned from.

One batch of sessions is answered from one state; slots are learned from a day of event time after
they were served. It decides nothing the product does not: candidates, ranking and learning are
`core`'s.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.floor_data import Session, put_items
from core.baselines import BASELINES
from core.candidates import Ask, Candidates, gather_each, ground_of
from core.popularity import DAY_MS
from core.ranker import OnlineRanker
from core.ranking import RankerWeights, ranked
from core.sequence import SequenceScores
from core.shop_state import ShopState
from core.surfaces import DISCOVER
from schemas.predictions import Slot

SURFACES = ("home", DISCOVER)
LABEL_AGE_MS = DAY_MS


@dataclass
class LearnedPolicy:
    """One way to rank: which sequence model it hears, and whether its weights still follow.

    `sequence` is live, frozen or none; after `frozen_at_ms` the weights stay as they are.
    """

    name: str
    sequence: str
    rankers: dict[str, OnlineRanker]
    frozen_at_ms: int | None = None
    waiting: deque[tuple[int, str, NDArray[np.float32], NDArray[np.float64]]] = field(
        default_factory=deque
    )
    current: dict[str, RankerWeights] = field(default_factory=dict)

    def learn_until(self, now_ms: int) -> None:
        """Learns what has matured, in served order, and refreshes the weights in use."""
        if self.frozen_at_ms is not None:
            now_ms = min(now_ms, self.frozen_at_ms)
        while self.waiting and self.waiting[0][0] + LABEL_AGE_MS <= now_ms:
            _, surface, features, labels = self.waiting.popleft()
            self.rankers[surface].learn(features, labels)
            self.current.pop(surface, None)

    def weights(self, surface: str) -> RankerWeights:
        """The weights in use on a surface."""
        if surface not in self.current:
            self.current[surface] = self.rankers[surface].weights(self.name)
        return self.current[surface]


@dataclass(frozen=True)
class Judged:
    """One policy's answer to one request, beside what was bought."""

    policy: str
    surface: str
    visitor_id: str
    at_ms: int
    found: int
    wanted: int


class Loop:
    """State, policies and the verdicts so far."""

    def __init__(self, state: ShopState, policies: list[LearnedPolicy]) -> None:
        self.state = state
        self.policies = policies
        self.judged: list[Judged] = []

    def step(self, batch: list[Session], scores: dict[str, list[SequenceScores]]) -> None:
        """Answers a batch from the state as it is, then takes the batch in.

        `scores` holds, for each kind of sequence model, one entry per asked session.
        """
        for policy in self.policies:
            policy.learn_until(batch[0].past.at_ms)
        for i, session in enumerate(self.asked(batch)):
            kinds: dict[str, SequenceScores | None] = {k: found[i] for k, found in scores.items()}
            for surface in SURFACES:
                self._answer(session, surface, kinds | {"none": None})
        for session in batch:
            put_items(self.state, session)
            past = session.past
            self.state.apply(past.visitor_id, "purchase", past.item_ids, past.at_ms)

    def asked(self, batch: list[Session]) -> list[Session]:
        """The sessions of a batch that are asked about: those of customers seen before."""
        return [s for s in batch if not s.is_guest and self.state.knows(s.past.visitor_id)]

    def _answer(
        self, session: Session, surface: str, kinds: dict[str, SequenceScores | None]
    ) -> None:
        past = session.past
        ask = Ask(past.visitor_id, surface, past.at_ms)
        taken = set(past.item_ids)
        if surface == DISCOVER:
            visitor = self.state.visitors[past.visitor_id]
            rows = visitor.bought_rows()
            taken -= {self.state.catalogue.item_ids[row] for row in rows}
        ground = ground_of(self.state, ask)
        wanted = dict.fromkeys(policy.sequence for policy in self.policies)
        found = gather_each(ground, [kinds[kind] for kind in wanted])
        gathered = dict(zip(wanted, found, strict=True))
        for policy in self.policies:
            shown = self._rank(policy, gathered[policy.sequence], ask, taken)
            self._judge(policy.name, ask, shown, taken)
        for name, baseline in BASELINES.items():
            self._judge(name, ask, baseline(ground), taken)

    def _rank(
        self, policy: LearnedPolicy, candidates: Candidates, ask: Ask, taken: set[str]
    ) -> list[str]:
        weights = policy.weights(ask.surface)
        order = ranked(candidates, weights)
        shown = order.best(ask.k)
        if policy.frozen_at_ms is None or ask.now_ms <= policy.frozen_at_ms:
            slots = [*shown, *order.considered(ask.k)]
            policy.waiting.append((ask.now_ms, ask.surface, *_rows(slots, taken)))
        return [slot.item_id for slot in shown]

    def _judge(self, policy: str, ask: Ask, shown: list[str], taken: set[str]) -> None:
        if taken:
            found = sum(item in taken for item in shown[: ask.k])
            self.judged.append(
                Judged(policy, ask.surface, ask.visitor_id, ask.now_ms, found, len(taken))
            )


def _rows(slots: list[Slot], taken: set[str]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    features = np.array([slot.features for slot in slots], np.float32)
    return features, np.array([slot.item_id in taken for slot in slots], np.float64)
