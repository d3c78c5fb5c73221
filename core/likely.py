"""Which catalogue rows a sequence model finds likeliest, and what it says of some rows.

A model speaks of the items of its vocabulary; the catalogue has its own rows. Rows are looked up
for the likeliest columns alone, so that an answer does not go through the catalogue again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.catalogue import Rows
from core.sequence import SequenceScores
from core.shop_state import ShopState
from core.top import reached_by, top_rows

ABOVE_ANY = np.float32(1_000.0)
"""Lifts log-probabilities above zero; what is not above zero then is not likely at all."""

_MARGIN = 0.001  # wider than the rounding that lifting costs

Floats = NDArray[np.float32]


def likely_rows(
    state: ShopState, said: SequenceScores, allowed: NDArray[np.bool_], n: int, barred: int
) -> Rows:
    """The n likeliest allowed catalogue rows, likeliest first, ties by row.

    `barred` is about how many likely items are not allowed: with more, or in a catalogue that
    the filters leave little of, every row is looked at.
    """
    values = said.log_probs
    enough = reached_by(values, 2 * n + barred)
    columns = (values >= enough - _MARGIN).nonzero()[0]
    rows = state.vocabulary_rows(said.vocabulary)[columns]
    known = rows >= 0
    known[known] = allowed[rows[known]]
    rows, found = rows[known], values[columns[known]]
    if enough > -np.inf and np.count_nonzero(found >= enough) < n:
        return _of_all(state, said, allowed, n)
    return top_rows(found + ABOVE_ANY, n, rows)


def log_probs_of(state: ShopState, said: SequenceScores, rows: Rows) -> Floats:
    """What the model says of these rows; minus infinity of those it does not know."""
    columns = state.vocabulary_columns(said.vocabulary)[rows]
    size = len(said.vocabulary)
    found = np.full(len(rows), -np.inf, np.float32)
    known = columns < size
    found[known] = said.log_probs[columns[known]]
    return found


def _of_all(state: ShopState, said: SequenceScores, allowed: NDArray[np.bool_], n: int) -> Rows:
    rows = allowed.nonzero()[0]
    return top_rows(log_probs_of(state, said, rows) + ABOVE_ANY, n, rows)
