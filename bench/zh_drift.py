"""Reviews of new categories, read without labels, beside labelled ones of the categories before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bench.zh_reviews import Review, macro_f1, texts_of
from trainer.pretrain.self_training import self_train

FIRST_CATEGORIES = 6
INVERSE_PENALTIES = (0.3, 1.0, 3.0, 10.0)


def measure_drift(in_order: Sequence[Review], reviews: Sequence[Review]) -> dict[str, Any]:
    """Macro-F1 of self-training and of the baseline on half of the new categories' reviews.

    The first categories are those that occur first `in_order`; `reviews` are in a random order.
    """
    known = list(dict.fromkeys(one.category for one in in_order))[:FIRST_CATEGORIES]
    labelled = [one for one in reviews if one.category in known]
    new = [one for one in reviews if one.category not in known]
    unlabelled, test = new[: len(new) // 2], new[len(new) // 2 :]
    inverse_penalty = chosen_penalty(labelled)
    found = (
        macro_f1(test, _answers(labelled, read, test, inverse_penalty)) for read in (unlabelled, ())
    )
    return {name: round(one, 4) for name, one in zip(("f1", "tfidf_f1"), found, strict=True)}


def chosen_penalty(labelled: Sequence[Review]) -> float:
    """The inverse penalty that does best on a tenth of the labelled reviews."""
    tenth = len(labelled) // 10
    valid, train = labelled[:tenth], labelled[tenth:]
    return max(INVERSE_PENALTIES, key=lambda one: macro_f1(valid, _answers(train, (), valid, one)))


def _answers(
    labelled: Sequence[Review],
    unlabelled: Sequence[Review],
    asked: Sequence[Review],
    inverse_penalty: float,
) -> Any:
    model = self_train(
        texts_of(labelled),
        [str(one.good) for one in labelled],
        texts_of(unlabelled),
        inverse_penalty,
    )
    columns = model.log_probs(texts_of(asked)).argmax(axis=1)
    return np.asarray(model.labels)[columns]
