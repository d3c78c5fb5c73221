"""The held-out requests: one per session of a returning customer in the last days of the data.

A request knows what had happened before it and what was bought in its session; no model, no state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.sequence import HISTORY_LENGTH
from trainer.recommend.data import Interaction, continues

DAY_MS = 86_400_000
HOLDOUT_DAYS = (7, 14, 28)
"""The last seven days, or more where the shop is so quiet that too few customers came back."""
ENOUGH_REQUESTS = 100
MOST_REQUESTS = 300
FIRST_REQUESTS = 1_000
"""At most so many for a first version, whose ranker is fitted on them from nothing."""
ASKED_BEFORE_MS = 1_000


@dataclass(frozen=True)
class HeldOut:
    """One request, asked just before interaction number `index` of the data."""

    index: int
    visitor_id: str
    asked_ms: int
    history: tuple[str, ...]
    bought: frozenset[str]
    basket: frozenset[str]

    @property
    def new_basket(self) -> frozenset[str]:
        """What was bought for the first time by this visitor."""
        return self.basket - self.bought


class _Shopper:
    """Running history of one visitor while the data is walked."""

    def __init__(self) -> None:
        self.recent: deque[str] = deque(maxlen=HISTORY_LENGTH)
        self.bought: set[str] = set()
        self.last: Interaction | None = None
        self.basket: set[str] | None = None
        self.session_from_ms = 0

    def take(self, one: Interaction) -> None:
        self.recent.extend(dict.fromkeys(one.item_ids))
        if one.kind == "purchase":
            self.bought.update(one.item_ids)
        self.last = one


def holdout(
    interactions: Sequence[Interaction], until_ms: int, seed: int
) -> tuple[int, list[HeldOut]]:
    """Where the hold-out begins (its first millisecond is one later) and its requests."""
    after_ms, requests = until_ms, list[HeldOut]()
    for days in HOLDOUT_DAYS:
        after_ms = until_ms - days * DAY_MS
        requests = held_out(interactions, after_ms, seed)
        if len(requests) >= ENOUGH_REQUESTS:
            break
    return after_ms, requests


def first_holdout(
    interactions: Sequence[Interaction], until_ms: int, seed: int
) -> tuple[int, list[HeldOut]]:
    """As `holdout`, but the longest that leaves half the data's time before it.

    On a week alone the ranker of a first version learns what that week was like.
    """
    half_ms = until_ms - (until_ms - interactions[0].at_ms) // 2 if interactions else until_ms
    for days in reversed(HOLDOUT_DAYS):
        after_ms = until_ms - days * DAY_MS
        if after_ms >= half_ms:
            requests = held_out(interactions, after_ms, seed, FIRST_REQUESTS)
            if len(requests) >= ENOUGH_REQUESTS:
                return after_ms, requests
    return holdout(interactions, until_ms, seed)


def held_out(
    interactions: Sequence[Interaction], after_ms: int, seed: int, most: int = MOST_REQUESTS
) -> list[HeldOut]:
    """Requests after `after_ms` in order of time, at most `most`, drawn evenly by the seed."""
    shoppers: dict[str, _Shopper] = {}
    baskets: list[set[str]] = []
    found: list[tuple[int, Interaction, tuple[str, ...], frozenset[str]]] = []
    for index, one in enumerate(interactions):
        shopper = shoppers.setdefault(one.visitor_id, _Shopper())
        if shopper.last is None or not continues(shopper.last, one):
            shopper.basket, shopper.session_from_ms = None, one.at_ms
        if one.kind == "purchase":
            is_held_out = shopper.session_from_ms > after_ms  # as a whole: else training sees part
            if shopper.basket is None and is_held_out and shopper.bought:
                shopper.basket = set()
                baskets.append(shopper.basket)
                bought = frozenset(shopper.bought)
                found.append((index, one, tuple(shopper.recent), bought))
            if shopper.basket is not None:
                shopper.basket.update(one.item_ids)
        shopper.take(one)
    requests = [
        HeldOut(index, one.visitor_id, one.at_ms - ASKED_BEFORE_MS, history, bought, frozenset(b))
        for (index, one, history, bought), b in zip(found, baskets, strict=True)
    ]
    return _drawn(requests, seed, most)


def _drawn(requests: list[HeldOut], seed: int, most: int) -> list[HeldOut]:
    if len(requests) <= most:
        return requests
    picked = np.random.default_rng(seed).choice(len(requests), most, replace=False)
    return [requests[i] for i in np.sort(picked)]
