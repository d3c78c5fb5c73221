"""What served slots teach beside sessions: chance draws, slots passed over, labels put right.

A lesson is one item after one history, good or bad, with a weight. Good ones pull by -log p, bad
ones push by -log(1 - p). Each kind has a weight of its own in the recipe, zero by default.

*Source:* Swaminathan and Joachims, The Self-Normalized Estimator for Counterfactual Learning, 2015;
Welleck et al., Neural Text Generation with Unlikelihood Training, 2020, section 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.search_skipped import SKIPPED
from core.search_skipped import taught as by_slot
from core.sequence import SequenceVocabulary
from trainer.recommend.data import ExploredSlot, Lesson, LessonKind
from trainer.recommend.model import SequenceNetwork, looked_up

LARGEST_WEIGHT = 20.0
"""Bound of 1 / propensity: a rarer draw would rule the loss by itself."""
CHANGED = ("corrected", "retracted")
_TINY = 1e-6


@dataclass(frozen=True)
class Lessons:
    """How much each kind of lesson counts beside the sessions; zero leaves it out."""

    explored: float = 0.0
    passed: float = 0.0
    corrected: float = 0.0

    @property
    def is_off(self) -> bool:
        """Whether nothing is taken from served slots."""
        return not (self.explored or self.passed or self.corrected)

    def of(self, kind: LessonKind) -> float:
        """The weight of one kind."""
        return {"explored": self.explored, "passed": self.passed, "corrected": self.corrected}[kind]


@dataclass(frozen=True)
class Taught:
    """Lessons as arrays: tokens (n, 50), vocabulary index, good or bad and weight (n,)."""

    tokens: NDArray[np.int64]
    item: NDArray[np.int64]
    good: NDArray[np.bool_]
    weight: NDArray[np.float32]


Steps = Callable[[int], torch.Tensor]
"""The loss of the lessons that go with a numbered step."""


def explored_lessons(slots: Iterable[ExploredSlot]) -> list[Lesson]:
    """Slots drawn by chance; each counts the inverse of its clipped propensity."""
    return [
        Lesson(
            "explored",
            one.closed_at_ms or one.served_at_ms,
            one.history,
            one.item_id,
            one.bought,
            inverse(one.propensity),
        )
        for one in slots
    ]


def inverse(propensity: float) -> float:
    """1 / propensity, clipped.

    >>> inverse(0.5), inverse(0.001)
    (2.0, 20.0)
    """
    return 1.0 / max(propensity, 1.0 / LARGEST_WEIGHT)


def taught(
    lessons: Sequence[Lesson], vocabulary: SequenceVocabulary, how: Lessons
) -> Taught | None:
    """The lessons that count, each kind's weights divided by their sum; None without any.

    An explored slot that did not sell counts in that sum and teaches nothing else: the reward of a
    self-normalised estimate is zero there.
    """
    known = [one for one in lessons if how.of(one.kind) and one.item_id in vocabulary.index]
    total: dict[str, float] = {}
    for one in known:
        total[one.kind] = total.get(one.kind, 0.0) + one.weight
    used = [one for one in known if one.good or one.kind != "explored"]
    if not used:
        return None
    weights = [how.of(one.kind) * one.weight / total[one.kind] * len(used) for one in used]
    return Taught(
        np.stack([vocabulary.encode(one.history) for one in used]),
        np.array([vocabulary.index[one.item_id] for one in used], np.int64),
        np.array([one.good for one in used], np.bool_),
        np.array(weights, np.float32),
    )


def served_lessons(row: Mapping[str, Any]) -> list[Lesson]:
    """What one answer teaches whose `item_ids`, `states`, `kinds` and `propensities` go by slot.

    A slot passed over on the way to a chosen one is bad; so is one whose purchase was taken back,
    and one that turned out to have been bought after its label was final is good.
    """
    slots = list(zip(row["item_ids"], row["states"], strict=True))
    changed = [(item, state == "corrected") for item, state in slots if state in CHANGED]
    kinds = [
        "retracted" if state == "retracted" else kind or None
        for kind, state in zip(row["kinds"], row["states"], strict=True)
    ]
    passed = [
        (one.item_id, one.weight)
        for one in by_slot(row["item_ids"], kinds, row["propensities"])
        if one.grade == SKIPPED
    ]
    at_ms, history = row["closed_at_ms"], tuple(row["history"])
    return [
        *(Lesson("corrected", at_ms, history, item, good) for item, good in changed),
        *(Lesson("passed", at_ms, history, item, False, weight) for item, weight in passed),
    ]


def steps_of(
    network: SequenceNetwork, told: Taught, random: np.random.Generator, size: int
) -> Steps:
    """One epoch's lessons in a drawn order that goes round."""
    order = random.permutation(len(told.item))

    def loss(number: int) -> torch.Tensor:
        return lesson_loss(network, told, order[(number * size + np.arange(size)) % len(order)])

    return loss


def lesson_loss(network: SequenceNetwork, told: Taught, rows: NDArray[np.int64]) -> torch.Tensor:
    """Mean over some lessons of -log p of the good and -log(1 - p) of the bad ones."""
    table = network.item_table()
    tokens = torch.from_numpy(told.tokens[rows])
    newest = network.newest(tokens, looked_up(tokens, table))
    said = torch.log_softmax(newest @ table.T + network.item_bias, dim=1)
    item = torch.from_numpy(told.item[rows])[:, None]
    chosen = said.gather(1, item)[:, 0]
    bad = -torch.log1p(-chosen.exp().clamp(max=1 - _TINY))
    losses = torch.where(torch.from_numpy(told.good[rows]), -chosen, bad)
    return (losses * torch.from_numpy(told.weight[rows])).mean()
