"""What a shop serves that never updates: the first version, its state and its clock, all as once.

Apart from the control, which keeps live features: here counts, histories and co-occurrence are as
of the first day too. Only the filter of `discover` knows what a visitor has bought since.
"""

from __future__ import annotations

from functools import cache

from bench.floor_data import Session
from bench.floor_loop import Judged
from bench.floor_models import Scorer
from core.candidates import Ask, gather
from core.ranking import RankerWeights, rank
from core.sequence import SequenceScores
from core.shop_state import ShopState
from core.surfaces import DISCOVER


class Static:
    """The first version with everything frozen at one moment."""

    name = "static"

    def __init__(
        self, state: ShopState, scorer: Scorer, weights: dict[str, RankerWeights], now_ms: int
    ) -> None:
        self.state, self.weights, self.now_ms = state, weights, now_ms

        @cache
        def scores(visitor_id: str) -> SequenceScores:
            return scorer.scores([state.history(visitor_id)])[0]

        self._scores = scores

    def judged(self, session: Session, surface: str, bought: frozenset[str]) -> Judged | None:
        """Its verdict on one request; None where nothing new to the customer was bought."""
        past = session.past
        taken = set(past.item_ids) - (bought if surface == DISCOVER else set())
        if not taken:
            return None
        exclude = bought if surface == DISCOVER else frozenset()
        ask = Ask(past.visitor_id, surface, self.now_ms, exclude=exclude)
        candidates = gather(self.state, ask, self._scores(past.visitor_id))
        shown = rank(candidates, self.weights[surface], ask.k)
        found = sum(slot.item_id in taken for slot in shown)
        return Judged(self.name, surface, past.visitor_id, past.at_ms, found, len(taken))
