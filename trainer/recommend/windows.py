"""Training windows from visitors' sessions: what a place sees and what it must predict.

It draws from the generator it is given and knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.sequence import HISTORY_LENGTH, SequenceVocabulary

Ints = NDArray[np.int64]
TARGETS = 4
INNER_SHARE = 0.2


@dataclass(frozen=True)
class VisitorSessions:
    """One visitor's sessions of item ids, oldest first.

    Sessions before `fresh_from` are context only: nothing in them is predicted.
    """

    sessions: tuple[tuple[str, ...], ...]
    fresh_from: int = 0


@dataclass(frozen=True)
class FlatSessions:
    """All visitors' tokens end to end, shape (N,) each.

    `session` numbers sessions throughout, `end` is where the following session of the same visitor
    ends, `fresh` marks tokens that may be targets and `is_new` the visitor's first meeting with
    the item. `starts` (visitors + 1,) are the visitors' borders.
    """

    tokens: Ints
    session: Ints
    end: Ints
    fresh: NDArray[np.bool_]
    is_new: NDArray[np.bool_]
    starts: Ints


@dataclass(frozen=True)
class Windows:
    """Rows of (n, 50): tokens padded in front with 0, and the weight of each place.

    `targets` (n, 50, TARGETS) are vocabulary indices; a place of weight 0 predicts nothing.
    """

    tokens: Ints
    targets: Ints
    weights: NDArray[np.float32]


def flatten(visitors: Sequence[VisitorSessions], vocabulary: SequenceVocabulary) -> FlatSessions:
    """Lays visitors end to end; items outside the vocabulary are left out."""
    tokens: list[int] = []
    session: list[int] = []
    fresh: list[bool] = []
    is_new: list[bool] = []
    starts = [0]
    number = 0
    for visitor in visitors:
        met: set[int] = set()
        for i, items in enumerate(visitor.sessions):
            known = [vocabulary.index[item] + 1 for item in items if item in vocabulary.index]
            tokens += known
            session += [number] * len(known)
            fresh += [i >= visitor.fresh_from] * len(known)
            is_new += [token not in met for token in known]
            met.update(known)
            number += bool(known)
        starts.append(len(tokens))
    sessions = np.array(session, np.int64)
    borders = np.array(starts, np.int64)
    return FlatSessions(
        tokens=np.array(tokens, np.int64),
        session=sessions,
        end=_ends_of_next(sessions, borders),
        fresh=np.array(fresh, np.bool_),
        is_new=np.array(is_new, np.bool_),
        starts=borders,
    )


def draw_windows(flat: FlatSessions, random: np.random.Generator, repeat_weight: float) -> Windows:
    """One epoch's windows: order inside sessions, cuts, places and targets drawn anew.

    Every last place of a session predicts, as when served, and a fifth of the others. A place
    predicts items drawn evenly from the rest of its session and the next session; a place whose
    targets the visitor had met before weighs `repeat_weight`.
    """
    order = np.lexsort((random.random(len(flat.tokens)), flat.session))
    place = np.arange(len(flat.tokens))
    room = flat.end - place - 1
    draws = random.random((len(place), TARGETS))
    target_at = place[:, None] + 1 + np.floor(draws * room[:, None]).astype(np.int64)
    target_at = order[np.minimum(target_at, len(place) - 1)]
    is_last = np.append(flat.session[1:] != flat.session[:-1], True)
    chosen = is_last | (random.random(len(place)) < INNER_SHARE)
    value = np.where(flat.is_new[target_at], 1.0, repeat_weight) * flat.fresh[target_at]
    weights = (value.mean(axis=1) * (room > 0) * chosen).astype(np.float32)
    return _cut(flat.starts, (flat.tokens[order], flat.tokens[target_at] - 1, weights), random)


def _ends_of_next(session: Ints, starts: Ints) -> Ints:
    """For each place, where the following session of the same visitor ends."""
    ends = np.searchsorted(session, session + 1, side="right")
    visitor_end = np.repeat(starts[1:], np.diff(starts))
    return np.minimum(ends, visitor_end)


def _cut(
    starts: Ints,
    columns: tuple[Ints, Ints, NDArray[np.float32]],
    random: np.random.Generator,
) -> Windows:
    """Cuts each visitor into rows of 50 from a random offset; rows that teach nothing go."""
    tokens, targets, weights = columns
    rows: list[tuple[int, int]] = []
    for start, end in pairwise(starts.tolist()):
        bounds = [start, end]
        if end - start > HISTORY_LENGTH:
            cut = start + 1 + int(random.integers(HISTORY_LENGTH))
            bounds = [start, *range(cut, end, HISTORY_LENGTH), end]
        rows += [(a, b) for a, b in pairwise(bounds) if weights[a:b].any()]
    shape = (len(rows), HISTORY_LENGTH)
    windows = Windows(
        np.zeros(shape, np.int64),
        np.zeros((*shape, TARGETS), np.int64),
        np.zeros(shape, np.float32),
    )
    for i, (a, b) in enumerate(rows):
        windows.tokens[i, a - b :] = tokens[a:b]
        windows.targets[i, a - b :] = targets[a:b]
        windows.weights[i, a - b :] = weights[a:b]
    return windows
