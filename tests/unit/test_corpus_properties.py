"""What holds of any corpus: parts, cleaning, and the files it is kept in."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from core.text_near import clusters, near_pairs
from trainer.corpus.clean import Placed, clean
from trainer.corpus.examples import Corpus, Example, read_corpus, write_corpus
from trainer.corpus.settings import CleanSettings, DataSettings
from trainer.corpus.splits import divide
from trainer.corpus.tidy import tidied

RANK = {"train": 0, "valid": 1, "test": 2}
texts = st.text(max_size=40) | st.sampled_from(
    [
        "&amp;lt;b&gt;",
        "<p>a<br>b</p>",
        "schÃ¶n",
        "a < b & c",
        "<script>x</script>y",
        "\ud800",
        "ﬁ\x00",
    ]
)
examples = st.builds(
    Example,
    example_id=st.uuids().map(str),
    text=texts,
    label=st.sampled_from(["a", "b", "c"]),
    at_ms=st.integers(1, 50),
    group=st.sampled_from(["", "g1", "g2", "g3", "g4"]),
)
found_settings = settings(max_examples=60, deadline=None)


@found_settings
@given(st.lists(examples, min_size=2, max_size=40), st.sampled_from(["random", "time"]))
def test_every_example_is_in_one_part_and_no_group_is_divided(
    found: list[Example], split: str
) -> None:
    found = [*found, msgspec.structs.replace(found[0], at_ms=99), found[0]]
    together = [one.group or str(place) for place, one in enumerate(found)]
    told = msgspec.convert({"split": split}, DataSettings)
    divided = divide(found, together, [""] * len(found), told, 7)
    assert divided == divide(found, together, [""] * len(found), told, 7)
    assert len(divided.parts) == len(found)
    assert divided.parts.count("") == sum(divided.dropped.values())
    parts: dict[str, set[str]] = {}
    for unit, part in zip(together, divided.parts, strict=True):
        if part:
            parts.setdefault(unit, set()).add(part)
    assert all(len(of_one) == 1 for of_one in parts.values())
    if split == "time":
        ordered = sorted(
            (one.at_ms, RANK[part]) for one, part in zip(found, divided.parts, strict=True) if part
        )
        assert [rank for _, rank in ordered] == sorted(rank for _, rank in ordered)


@found_settings
@given(st.lists(examples, min_size=3, max_size=40))
def test_the_order_of_rows_does_not_change_their_parts(found: list[Example]) -> None:
    found = list({one.text: msgspec.structs.replace(one, group="") for one in found}.values())
    names = [one.text for one in found]
    there = divide(found, names, [""] * len(found), DataSettings(), 7).parts
    back = divide(found[::-1], names[::-1], [""] * len(found), DataSettings(), 7).parts
    assert there == back[::-1]


@found_settings
@given(texts)
def test_tidying_twice_changes_nothing(text: str) -> None:
    once = tidied(text, CleanSettings())
    assert once is not None
    assert tidied(once, CleanSettings()) == once


@found_settings
@given(st.lists(examples, max_size=30), st.sampled_from(["drop", "majority"]))
def test_cleaning_twice_leaves_out_nothing_more(found: list[Example], conflicts: str) -> None:
    told = msgspec.convert({"conflicts": conflicts}, CleanSettings)
    once = clean([Placed(one) for one in found], told, "en")
    again = clean(once.kept, told, "en")
    assert again.kept == once.kept
    assert again.together == once.together
    assert not +again.dropped
    assert len(found) == len(once.kept) + sum(once.dropped.values())


@found_settings
@given(st.lists(examples.filter(lambda one: one.text.isprintable()), max_size=12))
def test_a_corpus_is_read_as_it_was_written(found: list[Example]) -> None:
    corpus = Corpus(train=found[:4], valid=found[4:6], test=found[6:9], unlabelled=found[9:])
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(corpus, Path(folder))
        assert read_corpus(Path(folder)) == corpus


@found_settings
@given(st.lists(st.text("abc ", min_size=8, max_size=30), max_size=20))
def test_near_pairs_are_symmetric_and_equal_texts_are_always_near(found: list[str]) -> None:
    pairs = near_pairs(found, 0.9)
    assert all(first < second for first, second in pairs)
    roots = clusters(len(found), pairs)
    counts = Counter(found)
    for text in counts:
        assert len({roots[place] for place, one in enumerate(found) if one == text}) == 1
