"""Fits the sequence model to visitors' sessions; the same seed and input give the same model.

Items of one session are a set: their order is drawn anew each epoch, and what a place predicts is
drawn from the rest of its session and the next one. It reads and writes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.item_text import text_vectors
from core.sequence import SequenceVocabulary
from trainer.processes import rank, world
from trainer.recommend.adamw import DECAY, AdamW
from trainer.recommend.augment import Augment, augmented
from trainer.recommend.checkpoint import Checkpoint, Progress, fingerprint
from trainer.recommend.data import Lesson
from trainer.recommend.epoch import batches_of, one_epoch, tail_loss
from trainer.recommend.lessons import Lessons, Taught, steps_of, taught
from trainer.recommend.model import SequenceNetwork, ServedNetwork, Shape
from trainer.recommend.ranks import my_share
from trainer.recommend.stopping import Stopping, without_tail
from trainer.recommend.windows import (
    FlatSessions,
    VisitorSessions,
    Windows,
    draw_windows,
    flatten,
)


@dataclass(frozen=True)
class Parent:
    """A trained model to start from; its items are matched by id."""

    vocabulary: tuple[str, ...]
    tensors: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one fit; a manifest records them.

    `decay` is the L2 pull of AdamW, `averaged` the share an average of the weights keeps at each
    step (0 keeps none and ends with the newest weights). With `patience` a fit ends when a held-out
    tail has not improved for so many epochs, with the weights that were best on it.
    """

    shape: Shape = field(default_factory=Shape)
    epochs: int = 6
    time_budget_s: float | None = None
    batch_rows: int = 32
    learning_rate: float = 3e-3
    repeat_weight: float = 0.5
    seed: int = 0
    threads: int = 1
    decay: float = DECAY
    averaged: float = 0.0
    augment: Augment = field(default_factory=Augment)
    lessons: Lessons = field(default_factory=Lessons)
    patience: int = 0


@dataclass(frozen=True)
class Also:
    """What else a fit may have: a file that says where it stands, and lessons of served slots."""

    keep: Path | None = None
    lessons: Sequence[Lesson] = ()


NOTHING_ELSE = Also()


@dataclass(frozen=True)
class SequenceModel:
    """A fitted network, its vocabulary and what fitting it took."""

    vocabulary: SequenceVocabulary
    network: SequenceNetwork
    losses: tuple[float, ...]
    wall_s: float

    def served(self) -> ServedNetwork:
        """The module to export or score with, in evaluation mode."""
        served = ServedNetwork(self.network.eval())
        served.eval()
        return served

    def log_probs(
        self, histories: Sequence[Sequence[str]], served: ServedNetwork | None = None
    ) -> NDArray[np.float32]:
        """Scores of histories of item ids, newest last, shape (len(histories), V)."""
        tokens = np.stack([self.vocabulary.encode(history) for history in histories])
        module = served or self.served()
        with torch.no_grad():
            scored: NDArray[np.float32] = module(torch.from_numpy(tokens)).numpy()
        return scored

    def as_parent(self) -> Parent:
        """What the next version starts from."""
        tensors = {n: t.detach().numpy().copy() for n, t in self.network.state_dict().items()}
        return Parent(self.vocabulary.item_ids, tensors)


def fit(
    visitors: Sequence[VisitorSessions],
    vocabulary: SequenceVocabulary,
    titles: Sequence[str],
    recipe: Recipe,
    parent: Parent | None = None,
    also: Also = NOTHING_ELSE,
) -> SequenceModel:
    """Trains on the visitors' sessions, from the parent's weights if there is one.

    With `also.keep`, the file says after each epoch where the fit stands, and one that was killed
    goes on from there to the same result. Removing it is the caller's.

    A time budget ends training after the epoch that exceeds it, and makes the result depend on the
    machine; without one the result depends on the arguments alone.
    """
    started = time.perf_counter()
    torch.manual_seed(recipe.seed)
    torch.set_num_threads(recipe.threads)
    random = np.random.default_rng(recipe.seed)
    visitors, tail = without_tail(visitors, recipe.patience, recipe.seed)
    flat, held_out = flatten(visitors, vocabulary), _held_out(tail, vocabulary, recipe)
    network = _network(flat, vocabulary, titles, recipe, parent)
    optimizer = AdamW(network.parameters(), recipe.decay, recipe.averaged)
    told = taught(also.lessons, vocabulary, recipe.lessons)
    what = _what(recipe, vocabulary, titles, _learned(flat, told), parent) if also.keep else ""
    checkpoint = None if also.keep is None else Checkpoint(also.keep, what)
    stopping = Stopping(recipe.patience)
    losses = _resumed(checkpoint, optimizer, stopping, random)
    for epoch in range(len(losses), recipe.epochs):
        if stopping.enough:
            break
        windows = draw_windows(flat, random, recipe.repeat_weight)
        windows = augmented(windows, random, recipe.augment)
        batches = my_share(batches_of(windows, random, recipe.batch_rows), rank(), world())
        lessons = None if told is None else steps_of(network, told, random, recipe.batch_rows)
        losses.append(
            one_epoch(network, optimizer, _rate(recipe, epoch), windows, batches, lessons)
        )
        if held_out is not None:
            stopping.take(tail_loss(network, held_out, recipe.batch_rows), optimizer.values)
        if checkpoint is not None and rank() == 0:
            checkpoint.write(_progress(optimizer, stopping, losses), random)
        if recipe.time_budget_s and time.perf_counter() - started > recipe.time_budget_s:
            break
    optimizer.use_average()
    if stopping.best is not None:
        optimizer.values.copy_(stopping.best)
    wall_s = time.perf_counter() - started
    return SequenceModel(vocabulary, network.eval(), tuple(losses), wall_s)


def _network(
    flat: FlatSessions,
    vocabulary: SequenceVocabulary,
    titles: Sequence[str],
    recipe: Recipe,
    parent: Parent | None,
) -> SequenceNetwork:
    """The network as a fit begins with it."""
    network = SequenceNetwork(_text(tuple(titles)), recipe.shape)
    network.start_at_counts(np.bincount(flat.tokens - 1, minlength=len(vocabulary)))
    if parent is not None:
        _inherit(network, vocabulary, parent)
    return network


def _held_out(
    tail: Sequence[VisitorSessions], vocabulary: SequenceVocabulary, recipe: Recipe
) -> Windows | None:
    """The tail's windows, drawn once: each epoch is asked the same."""
    if not tail:
        return None
    random = np.random.default_rng(recipe.seed)
    return draw_windows(flatten(tail, vocabulary), random, recipe.repeat_weight)


def _what(
    recipe: Recipe,
    vocabulary: SequenceVocabulary,
    titles: Sequence[str],
    learned: Sequence[NDArray[Any]],
    parent: Parent | None,
) -> str:
    """All that the result of a fit depends on, as a digest."""
    tensors = {} if parent is None else parent.tensors
    words = [repr(recipe), *vocabulary.item_ids, *titles, *tensors]
    if parent is not None:
        words += parent.vocabulary
    return fingerprint(words, [*learned, *tensors.values()])


def _learned(flat: FlatSessions, told: Taught | None) -> list[NDArray[Any]]:
    """What a fit learns from, as arrays."""
    sessions = [flat.tokens, flat.session, flat.fresh, flat.starts]
    return [*sessions, *([] if told is None else vars(told).values())]


def _resumed(
    checkpoint: Checkpoint | None,
    optimizer: AdamW,
    stopping: Stopping,
    random: np.random.Generator,
) -> list[float]:
    """The losses so far, all else being set to where it stood."""
    found = None if checkpoint is None else checkpoint.resume(random)
    if found is None:
        return []
    optimizer.resume(found.vectors, found.steps)
    stopping.resume(found.tails, found.vectors)
    return list(found.losses)


def _progress(optimizer: AdamW, stopping: Stopping, losses: Sequence[float]) -> Progress:
    vectors = {**optimizer.vectors(), **stopping.vectors()}
    return Progress(vectors, tuple(losses), optimizer.steps, tuple(stopping.tails))


@lru_cache(maxsize=1)
def _text(titles: tuple[str, ...]) -> torch.Tensor:
    """The titles' vectors, kept from a fit to its refit; nothing writes to them."""
    return torch.from_numpy(text_vectors(titles))


def _rate(recipe: Recipe, epoch: int) -> float:
    """Falls linearly to a tenth over the epochs."""
    left = 1.0 - epoch / max(recipe.epochs, 1)
    return recipe.learning_rate * (0.1 + 0.9 * left)


def _inherit(network: SequenceNetwork, vocabulary: SequenceVocabulary, parent: Parent) -> None:
    """Copies the parent's weights; items it did not know start from their text alone."""
    tensors = {name: torch.from_numpy(value) for name, value in parent.tensors.items()}
    old_index = {item: i for i, item in enumerate(parent.vocabulary)}
    shared = [(i, old_index[v]) for i, v in enumerate(vocabulary.item_ids) if v in old_index]
    new, old = (torch.tensor([pair[side] for pair in shared]) for side in (0, 1))
    for name in ("item_embedding", "item_bias"):
        values = torch.zeros_like(network.get_parameter(name))
        values[new] = tensors[name][old]
        tensors[name] = values
    network.load_state_dict(tensors)
