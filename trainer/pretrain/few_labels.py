"""A text classifier for a shop that has labelled few of its texts and keeps many without a label.

A teacher learns from the labelled texts: logistic regressions over vectors of several widths
(truncated SVD) made of the n-grams of all texts. It answers the unlabelled ones, each with a
probability. A student, naive Bayes over longer n-grams, counts the labelled texts and the
unlabelled by those probabilities: so it learns n-grams that no labelled text has. A pupil, over
vectors again, learns from what student and teacher say together. Student and pupil answer together.
Nothing is drawn at random beside the start of the SVD, which has a seed.

*Source:* Nigam, McCallum, Thrun and Mitchell, Text Classification from Labeled and Unlabeled
Documents using EM, 2000 (one round of it); Deerwester et al., Indexing by Latent Semantic Analysis,
1990; Lee, Pseudo-Label, 2013.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import BadSettings

Scores = NDArray[np.float64]
Part = Callable[["Seen"], Scores]
"""Gives scores of texts, each row centred."""

LEAST_TEXTS = 5
LONGEST_GRAM = 4
LONGEST_OF_VECTORS = 3
SVD_TEXTS = 20_000
MOST_ITERATIONS = 300


class FewLabelsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inverse penalty of the models over vectors, their widths, and how texts count.

    `sureness` multiplies the teacher's log odds; an unlabelled text counts as `weight` labelled
    ones, `smoothing` is added to every count. The pupil reads `pupil_texts` unlabelled texts; a
    labelled one counts as `pupil_weight` of them. `shares` are the parts of student and pupil in an
    answer, each divided by its own spread.
    """

    inverse_penalty: float = 3.0
    widths: tuple[int, ...] = (100, 200, 300, 400)
    sureness: float = 20.0
    weight: float = 2.0
    smoothing: float = 1.0
    pupil_texts: int = 10_000
    pupil_weight: float = 5.0
    shares: tuple[float, float] = (1.0, 0.5)


@dataclass(frozen=True)
class Seen:
    """Texts as the models see them: which n-grams are present, and vectors; a row each."""

    present: Any
    vectors: Any

    def rows(self, at: NDArray[np.int64]) -> Seen:
        """The texts at these rows."""
        return Seen(self.present[at], self.vectors[at])

    def cut(self, width: int) -> Any:
        """The first numbers of the vectors, at length one."""
        from sklearn.preprocessing import normalize

        return normalize(self.vectors[:, :width])


@dataclass(frozen=True)
class Reader:
    """What was learned of texts without any label; `short` are the n-grams of the vectors."""

    counts: Any
    short: NDArray[np.int64]
    rarity: Any
    svd: Any

    def see(self, texts: Sequence[str]) -> Seen:
        """The texts as the models see them."""
        counts = self.counts.transform(texts)
        tfidf = self.rarity.transform(counts[:, self.short])
        return Seen((counts > 0).astype(np.float64), self.svd.transform(tfidf))


@dataclass(frozen=True)
class FewLabels:
    """What was learned; `labels` in sorted order, each part with its share over its spread."""

    labels: tuple[str, ...]
    parts: tuple[Part, ...]
    shares: tuple[float, ...]

    def scores(self, seen: Seen) -> Scores:
        """How much speaks for each label, shape (texts, labels)."""
        found = [by * part(seen) for part, by in zip(self.parts, self.shares, strict=True)]
        return np.asarray(sum(found), np.float64)

    def answers(self, seen: Seen) -> NDArray[np.str_]:
        """The label with the highest score for each text."""
        found: NDArray[np.str_] = np.asarray(self.labels)[self.scores(seen).argmax(axis=1)]
        return found


def read_unlabelled(texts: Sequence[str], width: int = 400, seed: int = 7) -> Reader:
    """Learns n-grams and vectors of `width` numbers from texts; labels play no part."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

    least = min(LEAST_TEXTS, 1 + len(texts) // 100)
    counts = CountVectorizer(
        analyzer="char", ngram_range=(1, LONGEST_GRAM), min_df=least, dtype=np.float64
    )
    found = counts.fit_transform(texts)
    lengths = np.array([len(gram) for gram in counts.get_feature_names_out()])
    short = np.flatnonzero(lengths <= LONGEST_OF_VECTORS)
    rarity = TfidfTransformer(sublinear_tf=True).fit(found[:, short])
    some = rarity.transform(found[:SVD_TEXTS, short])
    width = min(width, min(some.shape) - 1)
    svd = TruncatedSVD(width, n_iter=2, random_state=seed).fit(some)
    return Reader(counts, short, rarity, svd)


def learn_few_labels(
    labelled: Seen,
    labels: Sequence[str],
    unlabelled: Seen,
    settings: FewLabelsSettings | None = None,
) -> FewLabels:
    """Fits the teacher to the labelled texts and the student to what both know of all texts.

    Raises:
        BadSettings: there are not two labels, or there is no unlabelled text.
    """
    settings = settings or FewLabelsSettings()
    known, names = np.asarray(labels), tuple(sorted(set(labels)))
    if len(names) < 2 or not len(unlabelled.vectors):
        raise BadSettings("learning from few labels needs two labels and unlabelled texts")
    teacher = _teacher(labelled, known, settings)
    said = teacher(unlabelled)
    student = _student(labelled, known, unlabelled, softmax(settings.sureness * said), settings)
    more = unlabelled.rows(np.arange(min(settings.pupil_texts, len(unlabelled.vectors))))
    both = _evened(student, unlabelled)(more) + 0.5 * _evened(teacher, unlabelled)(more)
    named = np.asarray(names)[both.argmax(axis=1)]
    pupil = _pupil(labelled, known, more, named, settings)
    parts = _evened(student, unlabelled), _evened(pupil, unlabelled)
    return FewLabels(names, parts, settings.shares)


def softmax(scores: Scores) -> Scores:
    """Probabilities of log scores, row by row.

    >>> softmax(np.log([[1.0, 3.0]])).round(2).tolist()
    [[0.25, 0.75]]
    """
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Scores = raised / raised.sum(axis=1, keepdims=True)
    return found


def _teacher(labelled: Seen, known: NDArray[np.str_], settings: FewLabelsSettings) -> Part:
    """The mean of linear models over vectors of each width."""
    models = [
        (width, _linear(settings.inverse_penalty).fit(labelled.cut(width), known))
        for width in settings.widths
    ]

    def scores(seen: Seen) -> Scores:
        found = [model.predict_log_proba(seen.cut(width)) for width, model in models]
        return _centred(np.mean(found, axis=0))

    return scores


def _student(
    labelled: Seen,
    known: NDArray[np.str_],
    unlabelled: Seen,
    shares: Scores,
    settings: FewLabelsSettings,
) -> Part:
    """Naive Bayes over the n-grams present, unlabelled texts counted by their shares."""
    truth = (known[:, None] == np.unique(known)).astype(np.float64)
    counts = labelled.present.T @ truth + settings.weight * (unlabelled.present.T @ shares)
    counts = counts + settings.smoothing
    weights, priors = np.log(counts / counts.sum(axis=0)), np.log(truth.mean(axis=0))

    def scores(seen: Seen) -> Scores:
        # N-grams are not independent: dividing by the root of their number tempers long texts.
        size = np.sqrt(np.maximum(1.0, np.asarray(seen.present.sum(axis=1)).reshape(-1, 1)))
        return _centred((seen.present @ weights + priors) / size)

    return scores


def _pupil(
    labelled: Seen,
    known: NDArray[np.str_],
    more: Seen,
    named: NDArray[np.str_],
    settings: FewLabelsSettings,
) -> Part:
    """A linear model over vectors of labelled texts and of those that the others named."""
    width = max(settings.widths)
    rows = np.concatenate([labelled.cut(width), more.cut(width)])
    weights = np.concatenate([np.full(len(known), settings.pupil_weight), np.ones(len(named))])
    model = _linear(settings.inverse_penalty)
    model.fit(rows, np.concatenate([known, named]), sample_weight=weights)
    return lambda seen: _centred(model.predict_log_proba(seen.cut(width)))


def _linear(inverse_penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=inverse_penalty, max_iter=MOST_ITERATIONS)


def _evened(part: Part, texts: Seen) -> Part:
    """The part with its scores divided by their spread over texts."""
    spread = max(float(part(texts).std()), 1e-12)
    return lambda seen: part(seen) / spread


def _centred(scores: Any) -> Scores:
    found: Scores = np.asarray(scores - scores.mean(axis=1, keepdims=True), np.float64)
    return found
