"""A few labels go further where many texts without any are read as well."""

from __future__ import annotations

import numpy as np
import pytest

from schemas.errors import BadSettings
from trainer.pretrain.few_labels import learn_few_labels, read_unlabelled

LABELLED = {"good": ["好灯", "灯好看", "很好"], "bad": ["差灯", "灯差劲", "很差"]}
NEW = ["很好香", "很好香汤", "很差冷", "很差冷饭"] * 4
TEXTS = [text for found in LABELLED.values() for text in found]
LABELS = [label for label, found in LABELLED.items() for _ in found]


def test_ngrams_that_no_labelled_text_has_are_learned_from_the_unlabelled() -> None:
    reader = read_unlabelled([*TEXTS, *NEW])
    model = learn_few_labels(reader.see(TEXTS), LABELS, reader.see(NEW))
    assert model.answers(reader.see(["香汤", "冷饭"])).tolist() == ["good", "bad"]


def test_the_same_texts_give_the_same_scores() -> None:
    found = []
    for _ in range(2):
        reader = read_unlabelled([*TEXTS, *NEW])
        model = learn_few_labels(reader.see(TEXTS), LABELS, reader.see(NEW))
        found.append(model.scores(reader.see(NEW)))
    assert np.array_equal(*found)


def test_one_label_or_no_unlabelled_text_is_refused() -> None:
    reader = read_unlabelled([*TEXTS, *NEW])
    seen, none = reader.see(TEXTS), reader.see(NEW).rows(np.arange(0))
    with pytest.raises(BadSettings, match="two labels"):
        learn_few_labels(seen, ["good"] * len(TEXTS), reader.see(NEW))
    with pytest.raises(BadSettings, match="unlabelled"):
        learn_few_labels(seen, LABELS, none)
