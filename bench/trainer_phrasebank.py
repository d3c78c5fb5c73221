"""Sentiment of financial sentences: MiniLM fine-tuned, beside TF-IDF with logistic regression.

The sentences bear no time, so the split is random, stratified by label. Both sides choose by the
same validation rows; the test rows are looked at once.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.datasets import unpacked
from bench.minilm import minilm
from trainer.corpus.examples import Corpus, Example, labels_of
from trainer.finetune.model import TextModel
from trainer.finetune.score import macro_f1
from trainer.finetune.settings import FinetuneSettings
from trainer.finetune.stage import finetune
from trainer.task import Task

VALID_SHARE, TEST_SHARE = 0.1, 0.2
STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
HOW = FinetuneSettings(
    method="full", length=96, epochs=2.0, learning_rate=1e-4, train_embeddings=False
)


def measure(data: Path, quick: bool) -> dict[str, Any]:
    """`phrasebank`: macro-F1 of the fine-tuned encoder and of the plain rival on the test rows."""
    corpus = _corpus(unpacked(data, "financial_phrasebank"), quick)
    rival = tfidf_guesses(corpus)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        task = Task(task="financial_phrasebank", kind="classify", finetune=HOW)
        print(f"validation: {finetune(task, corpus, minilm(), folder)}", flush=True)
        guesses = TextModel.load(folder).logits(corpus.test).argmax(1)
    wanted = _places(corpus, corpus.test)
    found = {
        "f1": round(macro_f1(guesses, wanted), 4),
        "tfidf_f1": round(macro_f1(rival, wanted), 4),
    }
    print(f"test macro-F1 over {len(wanted)} sentences: {found}", flush=True)
    return {"phrasebank": found}


def tfidf_guesses(corpus: Corpus) -> NDArray[np.int64]:
    """Label places for the test part by words and pairs of words, with the best strength."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    made = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    train = made.fit_transform([one.text for one in corpus.train])
    valid, test = (made.transform([one.text for one in p]) for p in (corpus.valid, corpus.test))
    targets, wanted = _places(corpus, corpus.train), _places(corpus, corpus.valid)
    fitted = [LogisticRegression(C=c, max_iter=300).fit(train, targets) for c in STRENGTHS]
    scores = [macro_f1(one.predict(valid), wanted) for one in fitted]
    best = int(np.argmax(scores))
    print(f"TF-IDF: C={STRENGTHS[best]}, validation macro-F1 {scores[best]:.4f}", flush=True)
    guesses: NDArray[np.int64] = fitted[best].predict(test)
    return guesses


def _places(corpus: Corpus, examples: list[Example]) -> NDArray[np.int64]:
    return np.asarray([corpus.labels.index(one.label) for one in examples], dtype=np.int64)


def _corpus(folder: Path, quick: bool) -> Corpus:
    lines = (folder / "sentences_train.txt").read_text(encoding="utf-8").splitlines()
    seen = dict.fromkeys(line.rpartition("@")[::2] for line in lines if "@" in line)
    examples = [
        Example(example_id=str(at), text=text, label=label.strip())
        for at, (text, label) in enumerate(seen)
    ]
    random = np.random.default_rng(0)
    parts: dict[str, list[Example]] = {"train": [], "valid": [], "test": []}
    for label in labels_of(examples):
        rows = [one for one in examples if one.label == label]
        rows = [rows[at] for at in random.permutation(len(rows))]
        rows = rows[: len(rows) // 5] if quick else rows
        test, valid = round(TEST_SHARE * len(rows)), round(VALID_SHARE * len(rows))
        parts["test"] += rows[:test]
        parts["valid"] += rows[test : test + valid]
        parts["train"] += rows[test + valid :]
    return Corpus(labels=labels_of(examples), **parts)
