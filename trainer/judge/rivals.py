"""The simple baselines beside every candidate: the prior, and TF-IDF with a linear model.

They are fitted on the training part alone; the strength of the penalty is chosen on validation.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.text_metrics import Floats, Ints
from trainer.corpus.examples import Corpus, Example

PRIOR, TFIDF = "prior", "tfidf"
STRENGTHS = (1.0, 10.0)
UNSPACED = ("zh", "ja", "th")
"""Languages without spaces between words: their features are character n-grams."""


def class_indices(examples: Sequence[Example], labels: tuple[str, ...]) -> Ints:
    """The class of each example by the order of the labels, −1 for a label that is not among them.

    >>> class_indices([Example(example_id="1", text="x", label="b")], ("a", "b")).tolist()
    [1]
    """
    index = {label: i for i, label in enumerate(labels)}
    return np.array([index.get(one.label, -1) for one in examples], np.int64)


def values_of(examples: Sequence[Example]) -> Floats:
    """The value of each example."""
    return np.array([np.nan if one.value is None else one.value for one in examples], np.float64)


def prior_outputs(corpus: Corpus, rows: Sequence[Example]) -> Floats:
    """The same answer for every row: the classes' shares in training as logits, or the mean."""
    if not corpus.labels:
        return np.full((len(rows), 1), float(np.nanmean(values_of(corpus.train))))
    known = class_indices(corpus.train, corpus.labels)
    counts = np.bincount(known[known >= 0], minlength=len(corpus.labels)) + 1.0
    return np.tile(np.log(counts / counts.sum()), (len(rows), 1))


def tfidf_outputs(corpus: Corpus, rows: Sequence[Example], language: str) -> Floats:
    """TF-IDF with logistic regression (log-probabilities), or with ridge regression (values)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if language in UNSPACED:
        words = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, min_df=2)
    else:
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=1)
    train = words.fit_transform(_texts(corpus.train))
    valid, test = words.transform(_texts(corpus.valid)), words.transform(_texts(rows))
    if not corpus.labels:
        return _ridge(corpus, train, valid, test)
    return _logistic(corpus, train, valid, test)


def _logistic(corpus: Corpus, train: Any, valid: Any, test: Any) -> Floats:
    from sklearn.linear_model import LogisticRegression

    truth, valid_truth = (class_indices(p, corpus.labels) for p in (corpus.train, corpus.valid))
    best: tuple[float, Any] | None = None
    for strength in STRENGTHS:
        with warnings.catch_warnings():  # a fit that stops at its limit is still a rival
            warnings.simplefilter("ignore")
            fitted = LogisticRegression(C=strength, max_iter=60).fit(train, truth)
        score = float((fitted.predict(valid) == valid_truth).mean()) if len(valid_truth) else 0.0
        if best is None or score > best[0]:
            best = score, fitted
    assert best is not None
    said = np.full((test.shape[0], len(corpus.labels)), -30.0)
    said[:, best[1].classes_] = best[1].predict_log_proba(test)
    return np.maximum(said, -30.0)


def _ridge(corpus: Corpus, train: Any, valid: Any, test: Any) -> Floats:
    from sklearn.linear_model import Ridge

    truth, valid_truth = values_of(corpus.train), values_of(corpus.valid)
    fits = [Ridge(alpha=1 / strength).fit(train, truth) for strength in STRENGTHS]
    errors = [float(np.abs(each.predict(valid) - valid_truth).mean()) for each in fits]
    return np.asarray(fits[int(np.argmin(errors))].predict(test), np.float64)[:, None]


def _texts(rows: Sequence[Example]) -> list[str]:
    return [f"{one.text} {one.pair}".strip() for one in rows]
