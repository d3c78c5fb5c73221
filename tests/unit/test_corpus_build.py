"""A corpus from files: formats, parts, what is left out, and what is said of broken input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.errors import BadSettings, RejectedModel
from trainer.corpus.build import build_corpus
from trainer.corpus.card import read_flat_card
from trainer.corpus.examples import Corpus, read_corpus
from trainer.task import Task, read_task

WORDS = "red blue green brass copper lamp clock tray mug plate shawl candle basket ribbon".split()  # noqa: SIM905


def rows(count: int = 60) -> list[tuple[str, str]]:
    """Different texts of two labels."""
    found = []
    for number in range(count):
        words = [WORDS[number * step % len(WORDS)] for step in (1, 3, 7)]
        found.append((f"{' '.join(words)} number {number * 7919}", "ab"[number % 2]))
    return found


def task_of(folder: Path, kind: str = "classify", **data: Any) -> Task:
    """A task whose file is in `folder`."""
    made = {"task": "t", "kind": kind, "data": data, "folder": str(folder)}
    return msgspec.convert(made, Task)


def csv_of(found: list[tuple[str, str]], header: str = "text,label") -> str:
    return "\n".join([header, *(f"{text},{label}" for text, label in found)]) + "\n"


def everything(corpus: Corpus) -> list[str]:
    return [one.text for one in (*corpus.train, *corpus.valid, *corpus.test)]


COLUMNS = {"label": "label"}


def test_a_csv_becomes_parts_that_are_read_back_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(csv_of(rows()))
    corpus = build_corpus(task_of(tmp_path, files=["a.csv"], columns=COLUMNS), tmp_path / "out")
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (42, 6, 12)
    assert sorted(everything(corpus)) == sorted(text for text, _ in rows())
    assert [one.label for one in corpus.test].count("a") == 6
    assert corpus.labels == ("a", "b")
    assert read_corpus(tmp_path / "out") == corpus


def test_the_same_data_and_seed_give_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    for name, found in (("a.csv", rows()), ("b.csv", rows())):
        (tmp_path / name).write_text(csv_of(found))
    (tmp_path / "c.csv").write_text(csv_of(rows()[::-1]))
    made = {
        name: build_corpus(task_of(tmp_path, files=[name], columns=COLUMNS), tmp_path / name[0])
        for name in ("a.csv", "b.csv", "c.csv")
    }
    again = build_corpus(task_of(tmp_path, files=["a.csv"], columns=COLUMNS), tmp_path / "again")
    assert again == made["a.csv"]
    for part in ("train.jsonl", "card.json"):
        assert (tmp_path / "a" / part).read_bytes() == (tmp_path / "again" / part).read_bytes()
    assert {one.text for one in made["c.csv"].test} == {one.text for one in again.test}


@pytest.mark.parametrize(
    ("name", "content", "data"),
    [
        ("a.csv", csv_of(rows()).replace(",", ";"), {"separator": ";", "columns": COLUMNS}),
        ("a.tsv", csv_of(rows()).replace(",", "\t"), {"columns": COLUMNS}),
        ("a.csv", "\ufeff" + csv_of(rows()), {"columns": COLUMNS}),
        (
            "a.csv",
            csv_of(rows(), "").lstrip(),
            {"header": False, "columns": {"text": "1", "label": "2"}},
        ),
        ("a.txt", "\n".join(f"{text}@{label}" for text, label in rows()), {"label_separator": "@"}),
        (
            "a.jsonl",
            "\n".join(json.dumps({"text": text, "label": label}) for text, label in rows()),
            {"columns": COLUMNS},
        ),
    ],
)
def test_each_format_gives_the_same_examples(
    tmp_path: Path, name: str, content: str, data: dict[str, Any]
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    corpus = build_corpus(task_of(tmp_path, files=[name], **data), tmp_path / "out")
    assert sorted(everything(corpus)) == sorted(text for text, _ in rows())
    assert corpus.labels == ("a", "b")


def test_escapes_and_other_encodings_are_read(tmp_path: Path) -> None:
    found = [(f'caf\\"e {text} é', label) for text, label in rows()]
    content = "\n".join(["text,label", *(f'"{text}",{label}' for text, label in found)])
    (tmp_path / "a.csv").write_bytes(content.encode("latin-1"))
    task = task_of(tmp_path, files=["a.csv"], escape="\\", encoding="latin-1", columns=COLUMNS)
    corpus = build_corpus(task, tmp_path / "out")
    assert all(text.startswith('caf"e ') and text.endswith(" é") for text in everything(corpus))


def test_columns_may_be_joined_and_groups_are_kept_together(tmp_path: Path) -> None:
    lines = [f"q{number // 3},title {text},made of {text}, {number % 4}"
             for number, (text, _) in enumerate(rows())]  # fmt: skip
    (tmp_path / "a.csv").write_text("\n".join(["query,title,more,grade", *lines]))
    columns = {"text": "query", "pair": "title+more", "value": "grade", "group": "query"}
    task = task_of(
        tmp_path, "search", files=["a.csv"], columns=columns, clean={"near_duplicates": 0}
    )
    corpus = build_corpus(task, tmp_path / "out")
    assert corpus.test[0].pair.startswith("title ")
    assert " made of " in corpus.test[0].pair
    groups = [{one.group for one in part} for part in (corpus.train, corpus.valid, corpus.test)]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 20


def test_a_product_of_a_search_task_keeps_its_title_on_a_line_of_its_own(tmp_path: Path) -> None:
    row = 'q{}," big\n title, {}","<p>made  of\n{}</p>",{}'
    lines = [row.format(at // 3, text, text, at % 4) for at, (text, _) in enumerate(rows())]
    (tmp_path / "a.csv").write_text("\n".join(["query,title,more,grade", *lines]))
    columns = {"text": "query", "pair": "title|more", "value": "grade", "group": "query"}
    task = task_of(
        tmp_path, "search", files=["a.csv"], columns=columns, clean={"near_duplicates": 0}
    )
    for one in build_corpus(task, tmp_path / "out").test:
        title, more = one.pair.split("\n")
        assert title.startswith("big title, ")
        assert more == f"made of {title.removeprefix('big title, ')}"


def test_a_given_test_set_stays_whole_and_its_texts_leave_the_training_part(tmp_path: Path) -> None:
    train = rows()
    (tmp_path / "train.csv").write_text(csv_of(train))
    shown = [train[0], train[0], (train[1][0].upper() + "!", train[1][1]), ("quite new text", "a")]
    (tmp_path / "test.csv").write_text(csv_of(shown))
    task = task_of(
        tmp_path, files=["train.csv"], test_files=["test.csv"], split="given", columns=COLUMNS
    )
    corpus = build_corpus(task, tmp_path / "out")
    assert [one.text for one in corpus.test] == [text for text, _ in shown]
    assert len(corpus.train) + len(corpus.valid) == 58
    assert read_flat_card(tmp_path / "out")["dropped_also_in_a_later_part"] == 2


def test_every_row_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    dirt = [
        ("x", "a"),
        (rows()[0][0] + "!!", "a"),
        ("one text two labels", "a"),
        ("One text, two labels".replace(",", ""), "b"),
        ("left by the crawler", "bot"),
    ]
    (tmp_path / "a.csv").write_bytes(csv_of(rows() + dirt).encode() + b"broken \xff\xfe text,a\n")
    rule = {"column": "label", "matches": "^bot$", "reason": "bot"}
    task = task_of(tmp_path, files=["a.csv"], columns=COLUMNS, clean={"drop": [rule]})
    corpus = build_corpus(task, tmp_path / "out")
    card = json.loads((tmp_path / "out" / "card.json").read_bytes())
    assert card["dropped"] == {
        "bot": 1, "conflicting label": 2, "duplicate": 1, "encoding": 1, "too short": 1,
    }  # fmt: skip
    assert card["rows"] == len(everything(corpus)) + sum(card["dropped"].values())
    assert len(card["sources"][0]["sha256"]) == 64


def test_the_card_tells_parts_labels_language_and_leaks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        csv_of([(f"this is the {text} of my aunt", label) for text, label in rows()])
    )
    build_corpus(task_of(tmp_path, files=["a.csv"], columns=COLUMNS), tmp_path / "out")
    flat = read_flat_card(tmp_path / "out")
    assert flat["examples_train"] == 42
    assert flat["language_guess"] == "en"
    assert flat["leak_same_text"] == 0
    assert flat["leak_same_text_passed"] == 1
    assert all(isinstance(value, int | float | str) for value in flat.values())


def test_a_text_that_says_its_label_stops_the_training_unless_it_is_allowed(tmp_path: Path) -> None:
    told = [(f"{text} is {'good' if label == 'a' else 'poor'}", label) for text, label in rows()]
    told = [(text, "good" if label == "a" else "poor") for text, label in told]
    (tmp_path / "a.csv").write_text(csv_of(told))
    with pytest.raises(RejectedModel, match=r"label_words \(60 examples\)"):
        build_corpus(task_of(tmp_path, files=["a.csv"], columns=COLUMNS), tmp_path / "out")
    allowed = task_of(
        tmp_path, files=["a.csv"], columns=COLUMNS, leakage={"allow": ["label_words"]}
    )
    assert build_corpus(allowed, tmp_path / "out").labels == ("good", "poor")


def test_times_with_a_split_by_chance_are_a_leak(tmp_path: Path) -> None:
    lines = [f"{text},{label},{1_000 + n}" for n, (text, label) in enumerate(rows())]
    (tmp_path / "a.csv").write_text("\n".join(["text,label,at", *lines]))
    columns = {**COLUMNS, "at": "at"}
    with pytest.raises(RejectedModel, match="time"):
        build_corpus(task_of(tmp_path, files=["a.csv"], columns=columns), tmp_path / "out")
    task = task_of(tmp_path, files=["a.csv"], columns=columns, split="time")
    corpus = build_corpus(task, tmp_path / "out")
    assert max(one.at_ms for one in corpus.valid) < min(one.at_ms for one in corpus.test)


@pytest.mark.parametrize(
    ("content", "data", "said"),
    [
        (
            b"text,other\na,b\n",
            {"columns": COLUMNS},
            r"a\.csv: no column 'label'; it has text, oth",
        ),
        (b"text,label\nab,c\n", {"columns": COLUMNS, "encoding": "klingon"}, "a.csv: unknown enc"),
        (b"text,label\n", {"columns": COLUMNS}, "no example is left"),
        (b"text,label\nab,c\n", {"columns": COLUMNS, "separator": "::"}, "separator"),
        (
            b'text,label\n"' + b"x" * ((1 << 24) + 9),
            {"columns": COLUMNS},
            r"a\.csv: line \d+: fiel",
        ),
        (b"text,label\nab,c\n", {"columns": COLUMNS, "split": "time"}, "column of times"),
        (b"text,label\nab,c\n", {"columns": COLUMNS, "split": "given"}, "needs a test set"),
        (b"text,label\nab,c\n", {"columns": COLUMNS}, "nothing is left for the valid and test"),
    ],
)
def test_what_cannot_be_read_as_said_is_named(
    tmp_path: Path, content: bytes, data: dict[str, Any], said: str
) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(BadSettings, match=said):
        build_corpus(task_of(tmp_path, files=["a.csv"], **data), tmp_path / "out")


def test_a_missing_file_and_a_broken_line_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"none\.csv: No such file"):
        build_corpus(task_of(tmp_path, files=["none.csv"]), tmp_path / "out")
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n{"text": ')
    with pytest.raises(BadSettings, match=r"a\.jsonl: line 2"):
        build_corpus(task_of(tmp_path, files=["a.jsonl"]), tmp_path / "out")


def test_nul_bytes_and_broken_surrogates_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(csv_of(rows()).encode().replace(b"number", b"nu\x00ber"))
    corpus = build_corpus(task_of(tmp_path, files=["a.csv"], columns=COLUMNS), tmp_path / "out")
    assert len(everything(corpus)) == 60
    assert not any("\x00" in text for text in everything(corpus))


def test_every_example_task_can_be_read() -> None:
    folder = Path(__file__).parents[2] / "examples" / "tasks"
    found = {path.stem: read_task(path) for path in folder.glob("*.toml")}
    assert {name: task.task for name, task in found.items()} == {name: name for name in found}


def test_texts_that_repeat_by_nature_may_lie_in_several_parts(tmp_path: Path) -> None:
    lines = [f"a {WORDS[n % 3]} lamp,{n % 5},{1_000 + n}" for n in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["text,grade,at", *lines]))
    task = task_of(
        tmp_path, "regress", files=["a.csv"], split="time",
        columns={"value": "grade", "at": "at"},
        clean={"duplicates": False, "conflicts": "keep"},
        leakage={"allow": ["same_text", "near_text"]},
    )  # fmt: skip
    corpus = build_corpus(task, tmp_path / "out")
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (28, 4, 8)
    assert read_flat_card(tmp_path / "out")["leak_same_text"] == 8
