"""A linear model of character n-grams that teaches itself categories nobody has labelled yet.

It is fitted to the labelled texts, answers the unlabelled, and is fitted again to both: to the
surest tenth of its own answers first, then to two tenths, up to nine. So what it learns of the
nearest of the new texts helps with those further off. Its answers serve by themselves, or as
pseudo-labels from which an encoder learns.

*Source:* Kumar, Ma and Liang, Understanding Self-Training for Gradual Domain Adaptation, 2020; Lee,
Pseudo-Label, 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))
LEAST_TEXTS = 3
MOST_ITERATIONS = 300


@dataclass(frozen=True)
class SelfTrained:
    """The n-grams' weights and the linear model; labels in sorted order."""

    grams: Any
    linear: Any

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the columns."""
        return tuple(str(one) for one in self.linear.classes_)

    def log_probs(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Log probabilities, shape (len(texts), labels)."""
        found: NDArray[np.float64] = self.linear.predict_log_proba(self.grams.transform(texts))
        return found


def self_train(
    texts: Sequence[str],
    labels: Sequence[str],
    unlabelled: Sequence[str],
    inverse_penalty: float = 3.0,
    shares: Sequence[float] = SHARES,
) -> SelfTrained:
    """Fits to the labelled texts, then to them and a growing share of its own surest answers.

    No shares, or no unlabelled text: the plain linear model. It draws nothing at random.
    """
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    least = min(LEAST_TEXTS, len(texts))
    grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True, min_df=least)
    grams.fit([*texts, *unlabelled])
    known, answers = grams.transform(texts), np.asarray(labels)
    linear = _fitted(known, answers, inverse_penalty)
    if unlabelled:
        new = grams.transform(unlabelled)
        for share in shares:
            sure, said = surest(linear.predict_proba(new), share)
            both = vstack([known, new[sure]]).tocsr()
            named = np.concatenate([answers, linear.classes_[said]])
            linear = _fitted(both, named, inverse_penalty)
    return SelfTrained(grams, linear)


def surest(probs: NDArray[np.float64], share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows with the highest probability of any label, and the label's column in each.

    >>> rows, columns = surest(np.array([[0.6, 0.4], [0.1, 0.9], [0.5, 0.5]]), 0.67)
    >>> rows.tolist(), columns.tolist()
    ([1, 0], [1, 0])
    """
    order = np.argsort(-probs.max(axis=1), kind="stable")[: round(share * len(probs))]
    return order, probs[order].argmax(axis=1)


def _fitted(grams: Any, labels: NDArray[Any], inverse_penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=inverse_penalty, max_iter=MOST_ITERATIONS).fit(grams, labels)
