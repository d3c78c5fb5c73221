"""A linear model carries its labels into texts that nobody has labelled."""

from __future__ import annotations

from trainer.pretrain.self_training import self_train

LABELLED = {"good": ["好灯", "灯好看", "很好"], "bad": ["差灯", "灯差劲", "很差"]}
NEW = ["很好香", "很好香汤", "很差冷", "很差冷饭"]


def test_words_that_occur_beside_known_ones_take_their_meaning() -> None:
    texts = [text for found in LABELLED.values() for text in found] * 3
    labels = [label for label, found in LABELLED.items() for _ in found] * 3
    model = self_train(texts, labels, NEW * 4)
    found = model.log_probs(["香汤", "冷饭"]).argmax(axis=1)
    assert [model.labels[column] for column in found] == ["good", "bad"]


def test_without_unlabelled_texts_it_is_the_plain_model() -> None:
    texts, labels = ["good one", "good two", "bad one", "bad two"], ["y", "y", "n", "n"]
    plain = self_train(texts, labels, [], shares=())
    again = self_train(texts, labels, [])
    assert (plain.log_probs(texts) == again.log_probs(texts)).all()
