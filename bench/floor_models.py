"""Sequence models for the in-process loop: the first version and its weekly successors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.floor_data import Session
from core.sequence import SequenceScores, SequenceVocabulary
from trainer.recommend.fit import Recipe, SequenceModel, fit
from trainer.recommend.recipes import FIRST, REFIT, WARM
from trainer.recommend.windows import VisitorSessions

FRESH_WEEKS = 4


class Scorer:
    """Scores histories with one model; swapped whole."""

    def __init__(self, model: SequenceModel) -> None:
        self.model = model
        self.served = model.served()

    def scores(self, histories: list[list[str]]) -> list[SequenceScores]:
        """Log-probabilities of each history."""
        if not histories:
            return []
        log_probs = self.model.log_probs(histories, self.served)
        return [SequenceScores(row, self.model.vocabulary) for row in log_probs]


def train(
    found: Iterable[Session],
    until_ms: int,
    recipe: Recipe,
    parent: SequenceModel | None = None,
    fresh_ms: int = 0,
) -> SequenceModel:
    """Fits on what was bought before `until_ms`; only sessions from `fresh_ms` are predicted."""
    titles: dict[str, str] = {}
    visitors: dict[str, list[tuple[str, ...]]] = {}
    stale: dict[str, int] = {}
    for session in found:
        if session.past.at_ms >= until_ms:
            break
        titles.update((line.item_id, line.title) for line in session.lines)
        name = session.past.visitor_id
        visitors.setdefault(name, []).append(session.past.item_ids)
        stale[name] = stale.get(name, 0) + (session.past.at_ms < fresh_ms)
    rows = [VisitorSessions(tuple(kept), stale[name]) for name, kept in visitors.items()]
    rows = [row for row in rows if row.fresh_from < len(row.sessions)]
    vocabulary = SequenceVocabulary(list(titles))
    return fit(
        rows, vocabulary, list(titles.values()), recipe, parent.as_parent() if parent else None
    )


@dataclass(frozen=True)
class Recipes:
    """The trainer's own recipes: of the first fit, of its step on the weeks after, of each week."""

    first: Recipe = FIRST
    step: Recipe = REFIT
    week: Recipe = WARM

    def with_options(self, epochs: int, threads: int, seed: int) -> Recipes:
        """The same with the first fit's epochs, and with threads and seed for all."""
        return Recipes(
            replace(self.first, epochs=epochs, threads=threads, seed=seed),
            replace(self.step, threads=threads, seed=seed),
            replace(self.week, threads=threads, seed=seed),
        )

    def of_week(self, week: int) -> Recipe:
        """The recipe of a weekly warm start; the seed differs by week."""
        return replace(self.week, seed=self.week.seed + week)
