"""Labels by rules and by people, and changed copies of training texts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.errors import BadSettings
from trainer.corpus.augment import augmented, read_synonyms
from trainer.corpus.build import build_corpus
from trainer.corpus.examples import Corpus, Example
from trainer.corpus.settings import AugmentSettings, WeakRule, WeakSettings
from trainer.corpus.uncertain import export_uncertain, read_back
from trainer.corpus.weak import label_weakly
from trainer.task import Task


def task_of(folder: Path, kind: str = "classify", **data: Any) -> Task:
    return msgspec.convert({"task": "t", "kind": kind, "data": data, "folder": str(folder)}, Task)


def example(name: int, text: str, label: str = "") -> Example:
    return Example(example_id=str(name), text=text, label=label)


RULES = (
    WeakRule(label="late", keywords=("late", "waiting")),
    WeakRule(label="broken", matches=r"broke\w*|crack"),
    WeakRule(label="late", keywords=("box",)),
)


def known() -> list[Example]:
    return [
        *(example(n, f"still waiting {n} days", "late") for n in range(10)),
        *(example(10 + n, f"the box {n} came with a crack", "broken") for n in range(10)),
    ]


def test_a_rule_that_is_wrong_on_known_texts_is_not_followed() -> None:
    unlabelled = [example(30, "why so late"), example(31, "a lid in a box"), example(32, "nice")]
    corpus = Corpus(train=known(), valid=[], test=[], unlabelled=unlabelled, labels=("late",))
    found, accuracy = label_weakly(corpus, WeakSettings(rules=RULES))
    weak = {one.example_id: one for one in found.train if one.origin == "weak"}
    assert weak["30"].label == "late"
    assert 0.8 < weak["30"].weight < 1
    assert accuracy["1:late"] > 0.9 > 0.5 > accuracy["3:late"]
    assert "31" not in {name for name, one in weak.items() if one.label == "late"}
    assert "32" in {one.example_id for one in found.unlabelled}
    assert found.labels == ("broken", "late")


def test_a_majority_needs_more_votes_for_one_label_than_for_another() -> None:
    unlabelled = [example(30, "late and broken"), example(31, "late box, broken")]
    corpus = Corpus(train=known(), valid=[], test=[], unlabelled=unlabelled)
    found, _ = label_weakly(corpus, WeakSettings(rules=RULES, combine="majority"))
    weak = [one for one in found.train if one.origin]
    assert [(one.example_id, one.label, one.weight) for one in weak] == [("31", "late", 0.6667)]


def test_keywords_are_words_where_words_have_blanks() -> None:
    rules = (WeakRule(label="late", keywords=("late", "慢")),)
    unlabelled = [example(30, "a plate"), example(31, "物流太慢了")]
    corpus = Corpus(train=known(), valid=[], test=[], unlabelled=unlabelled)
    found, _ = label_weakly(corpus, WeakSettings(rules=rules))
    assert [one.example_id for one in found.unlabelled] == ["30"]


@pytest.mark.parametrize("rule", [{"label": "late"}, {"label": "late", "matches": "("}])
def test_a_rule_that_says_nothing_is_refused(rule: dict[str, str]) -> None:
    corpus = Corpus(train=known(), valid=[], test=[], unlabelled=[])
    with pytest.raises(BadSettings, match=r"data\.weak\.rules"):
        label_weakly(corpus, WeakSettings(rules=(WeakRule(**rule),)))


def test_people_are_asked_about_what_is_unsure_and_unlike(tmp_path: Path) -> None:
    texts = ["my parcel is late", "my parcel is late!", "=SUM(A1)", "lid broke", "very sure"]
    unlabelled = [example(n, text) for n, text in enumerate(texts)]
    corpus = Corpus(train=[], valid=[], test=[], unlabelled=unlabelled, labels=("a", "b"))
    chances = np.array([[0.5, 0.5], [0.5, 0.5], [0.45, 0.55], [0.4, 0.6], [0.0, 1.0]])
    for by in ("entropy", "margin"):
        path = export_uncertain(task_of(tmp_path), corpus, chances, 3, tmp_path, by)  # type: ignore[arg-type]
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 3
        assert len({row["text"].rstrip("!") for row in rows}) == 3
        assert rows[0]["example_id"] == "0"
        assert not any(row["text"].startswith("=") for row in rows)
        assert all(row["label"] == "" for row in rows)
    assert read_back(path) == {}


def test_answers_come_back_as_labels_with_their_origin(tmp_path: Path) -> None:
    lines = [f"{n},word{n * 7919} says thing{n * 104729},{'ab'[n % 2]}" for n in range(40)]
    more = [f"u{n},unlike{n * 611953} everything{n * 15485863}" for n in range(6)]
    (tmp_path / "a.csv").write_text("\n".join(["id,text,label", *lines]))
    (tmp_path / "u.csv").write_text("\n".join(["id,text", *more]).replace("text\n", "text,label\n"))
    (tmp_path / "one.csv").write_text("example_id,label\nu0,a\nu1,b\nu2,\ngone,a\n")
    (tmp_path / "two.csv").write_text("example_id,label\nu0,a\nu1,a\n")
    task = task_of(
        tmp_path, files=["a.csv"], unlabelled_files=["u.csv"], answers=["one.csv", "two.csv"],
        columns={"label": "label", "example_id": "id"},
    )  # fmt: skip
    corpus = build_corpus(task, tmp_path / "out")
    every = [*corpus.train, *corpus.valid, *corpus.test]
    assert [(one.example_id, one.label) for one in every if one.origin == "person"] == [("u0", "a")]
    assert len(corpus.unlabelled) == 5
    card = json.loads((tmp_path / "out" / "card.json").read_bytes())
    assert card["answers_unused"] == {"answers disagree": 1, "answer without example": 1}


def test_an_answer_that_is_no_label_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,label\n1,some text,a\n2,other words,b\n3,third,\n")
    (tmp_path / "one.csv").write_text("example_id,label\n3,typo\n")
    task = task_of(
        tmp_path, files=["a.csv"], answers=["one.csv"],
        columns={"label": "label", "example_id": "id"},
    )  # fmt: skip
    with pytest.raises(BadSettings, match="answer 'typo' of '3' is no label"):
        build_corpus(task, tmp_path / "out")


def test_copies_are_made_of_training_texts_alone_and_keep_their_labels(tmp_path: Path) -> None:
    lines = [f"word{n * 7919} says thing{n * 104729} and more,{'ab'[n % 2]}" for n in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label", *lines]))
    plain = task_of(tmp_path, files=["a.csv"], columns={"label": "label"})
    data = msgspec.structs.replace(
        plain.data, augment=AugmentSettings(copies=3, changes=("delete", "swap", "mask"))
    )
    before = build_corpus(plain, tmp_path / "plain")
    after = build_corpus(msgspec.structs.replace(plain, data=data), tmp_path / "more")
    copies = [one for one in after.train if one.origin == "augmented"]
    assert (after.valid, after.test) == (before.valid, before.test)
    assert after.train[: len(before.train)] == before.train
    assert len(copies) == 3 * len(before.train)
    of = {one.example_id: one for one in before.train}
    assert all(of[one.example_id.split("~")[0]].label == one.label for one in copies)
    assert after.texts() == before.texts()


def test_copies_do_not_depend_on_the_order_of_examples(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("big, large\tvast\nbox,crate\n")
    words = read_synonyms(tmp_path / "words.txt")
    settings = AugmentSettings(copies=2, changes=("synonym",), share=0.5)
    train = [example(n, f"a big box {n}", "a") for n in range(8)]
    made = augmented(train, settings, 7, words)
    assert sorted(augmented(train[::-1], settings, 7, words), key=str) == sorted(made, key=str)
    assert augmented(train, settings, 8, words) != made
    assert all({"large", "vast", "crate"} & set(one.text.split()) for one in made)
