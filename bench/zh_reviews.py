"""Chinese reviews of an online shop's categories, of hotels and of food delivery, in file order."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.datasets import unpacked

LONGEST = 200
SHOP, DELIVERY, HOTELS = (
    "online_shopping_10_cats.csv",
    "waimai_10k.csv",
    "ChnSentiCorp_htl_all.csv",
)


@dataclass(frozen=True)
class Review:
    """One review; `good` is its label."""

    category: str
    good: bool
    text: str


def read_reviews(data: Path) -> list[Review]:
    """Every review that has a text, the first of equal texts, in the files' order."""
    folder = unpacked(data, "zh_reviews")
    found: dict[str, Review] = {}
    for name in (SHOP, DELIVERY, HOTELS):
        with (folder / name).open(encoding="utf-8-sig", newline="") as opened:
            for row in csv.DictReader(opened):
                text = (row["review"] or "").replace("\ufeff", "").strip()
                category = row.get("cat") or name.split("_")[0]
                if text:
                    found.setdefault(text, Review(category, row["label"] == "1", text))
    return list(found.values())


def shuffled(reviews: Sequence[Review], seed: int) -> list[Review]:
    """The reviews in an order drawn by the seed."""
    order = np.random.default_rng(seed).permutation(len(reviews))
    return [reviews[i] for i in order]


def texts_of(reviews: Sequence[Review]) -> list[str]:
    """Their texts, cut to `LONGEST` characters."""
    return [one.text[:LONGEST] for one in reviews]


def linear_answers(train: Sequence[Review], asked: Sequence[Review], inverse_penalty: float) -> Any:
    """What TF-IDF of one and two characters and logistic regression say of `asked`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    grams = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True)
    rows = grams.fit_transform(texts_of(train))
    linear = LogisticRegression(C=inverse_penalty, max_iter=300)
    linear.fit(rows, [str(one.good) for one in train])
    return linear.predict(grams.transform(texts_of(asked)))


def macro_f1(reviews: Sequence[Review], answers: Any) -> float:
    """Both labels' F1, averaged."""
    from sklearn.metrics import f1_score

    return float(f1_score([str(one.good) for one in reviews], answers, average="macro"))
