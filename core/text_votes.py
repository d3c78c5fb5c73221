"""One label from several rules' votes: by majority, or by how far each rule is to be trusted.

*Source:* Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM
algorithm", 1979, with one accuracy a rule; Ratner et al., "Snorkel", 2017, for rules that abstain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ABSTAINS = -1
_ROUNDS = 50
_PRIOR_RIGHT, _PRIOR_VOTES = 0.7, 4.0
_CLOSE = 1e-6
_TIED = 1e-9
_NEVER_SURE = 1e-3
Votes = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Voted:
    """For each row its likeliest label (`ABSTAINS`: no rule voted, or a tie) and how likely it is;
    for each rule its accuracy."""

    label: Votes
    trust: Floats
    accuracy: Floats


def majority(votes: Votes, labels: int) -> Voted:
    """The label of most votes, trusted by its share of them; a tie is no label.

    Args:
        votes: label numbers, `ABSTAINS` where a rule is silent; shape `(n_rows, n_rules)`.
        labels: how many there are.

    >>> found = majority(np.array([[0, 0, 1], [1, 0, -1], [-1, -1, -1]]), 2)
    >>> found.label.tolist(), found.trust.round(2).tolist()
    ([0, -1, -1], [0.67, 0.5, 0.0])
    """
    counts = _counts(votes, labels)
    return _chosen(
        _shares(counts), np.asarray(counts.sum(axis=1) > 0), _agreement(votes, _shares(counts))
    )


def trusted(votes: Votes, labels: int, known: Votes | None = None) -> Voted:
    """The likeliest label when each rule is right as often as it seems to be.

    Accuracies are estimated together with the labels; where labels are known they are kept.

    Args:
        votes: as for `majority`.
        labels: how many there are.
        known: the label number of each row, `ABSTAINS` where it is not known; none: nowhere.

    >>> votes = np.array([[0, 0, 1]] * 6 + [[1, 1, 0]] * 5 + [[0, -1, 1]])
    >>> found = trusted(votes, 2)
    >>> found.label.tolist()[-1], bool(found.accuracy[0] > 0.9 > 0.2 > found.accuracy[2])
    (0, True)
    """
    known = np.full(len(votes), ABSTAINS) if known is None else known
    fixed = np.eye(labels)[np.maximum(known, 0)]
    chances = np.where(known[:, None] >= 0, fixed, _shares(_counts(votes, labels)))
    accuracy = _agreement(votes, chances)
    for _ in range(_ROUNDS):
        chances = np.where(known[:, None] >= 0, fixed, _posterior(votes, labels, accuracy))
        better = _agreement(votes, chances)
        settled = bool(np.max(np.abs(better - accuracy), initial=0.0) < _CLOSE)
        accuracy = better
        if settled:
            break
    return _chosen(chances, np.asarray((votes >= 0).any(axis=1)), accuracy)


def _counts(votes: Votes, labels: int) -> Floats:
    found: Floats = np.stack([(votes == label).sum(axis=1) for label in range(labels)], axis=1)
    return found.astype(np.float64)


def _shares(counts: Floats) -> Floats:
    total = counts.sum(axis=1, keepdims=True)
    shares: Floats = np.where(total > 0, counts / np.maximum(total, 1.0), 1.0 / counts.shape[1])
    return shares


def _agreement(votes: Votes, chances: Floats) -> Floats:
    """How often each rule is right, drawn towards the prior while it has voted little."""
    voted = votes >= 0
    right = np.take_along_axis(chances, np.maximum(votes, 0), axis=1) * voted
    found: Floats = (right.sum(axis=0) + _PRIOR_RIGHT * _PRIOR_VOTES) / (
        voted.sum(axis=0) + _PRIOR_VOTES
    )
    return found


def _posterior(votes: Votes, labels: int, accuracy: Floats) -> Floats:
    right = np.clip(accuracy, _NEVER_SURE, 1 - _NEVER_SURE)
    wrong = (1 - right) / max(1, labels - 1)
    scores = np.zeros((len(votes), labels))
    for label in range(labels):
        said = np.where(votes == label, np.log(right), np.log(wrong))
        scores[:, label] = np.where(votes >= 0, said, 0.0).sum(axis=1)
    chances: Floats = np.exp(scores - scores.max(axis=1, keepdims=True))
    normal: Floats = chances / chances.sum(axis=1, keepdims=True)
    return normal


def _chosen(chances: Floats, voted: NDArray[np.bool_], accuracy: Floats) -> Voted:
    ordered = np.sort(chances, axis=1)
    # A lone label has nothing to be tied with.
    ahead = ordered[:, -1] - (ordered[:, -2] if chances.shape[1] > 1 else 0.0)
    label = np.where(voted & (ahead > _TIED), chances.argmax(axis=1), ABSTAINS)
    return Voted(label, np.where(voted, chances.max(axis=1), 0.0), accuracy)
