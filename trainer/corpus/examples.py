"""An example of a text task, a corpus of them, and their JSON Lines form.

Field meanings are the same for every kind of task: `classify` reads `label`, `regress` and graded
`search` read `value`; `pair` is the second text where a task has two (query and product).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from schemas.errors import InvalidEvent

TRAIN, VALID, TEST, UNLABELLED = "train", "valid", "test", "unlabelled"
PARTS = (TRAIN, VALID, TEST, UNLABELLED)


class Example(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One text with what is known of it; an empty label and no value: unlabelled.

    `group` is never divided between parts (a query, a customer); `slice` names what the gate looks
    at separately (a product category, a language); `weight` multiplies its loss; `origin` is
    empty for what the source said, else `weak` (rules), `person` (an answer), `augmented`.
    """

    example_id: str
    text: str
    pair: str = ""
    label: str = ""
    value: float | None = None
    at_ms: int = 0
    group: str = ""
    slice: str = ""
    weight: float = 1.0
    origin: str = ""


class Corpus(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of a task's data; `labels` in the order of a classifier's outputs."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]
    unlabelled: list[Example] = []
    labels: tuple[str, ...] = ()

    def texts(self) -> list[str]:
        """What may be pre-trained on: every text that is not in the validation or test part."""
        found = [one for one in (*self.train, *self.unlabelled) if one.origin != "augmented"]
        return [text for one in found for text in (one.text, one.pair) if text]


def write_corpus(corpus: Corpus, folder: Path) -> None:
    """Writes a file per part and the labels; whole files, each renamed into place."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        _replace(
            folder / f"{part}.jsonl", msgspec.json.Encoder().encode_lines(getattr(corpus, part))
        )
    _replace(folder / "labels.json", msgspec.json.encode(corpus.labels))


def read_corpus(folder: Path) -> Corpus:
    """What `write_corpus` wrote.

    Raises:
        InvalidEvent: a file is missing or does not decode.
    """
    try:
        parts = {part: _read(folder / f"{part}.jsonl") for part in PARTS}
        labels = msgspec.json.decode((folder / "labels.json").read_bytes(), type=tuple[str, ...])
    except (OSError, msgspec.MsgspecError) as error:
        raise InvalidEvent(
            "corpus", f"the corpus in {folder.name} cannot be read: {error}"
        ) from error
    return Corpus(labels=labels, **parts)


def labels_of(examples: Iterable[Example]) -> tuple[str, ...]:
    """The labels that occur, sorted.

    >>> labels_of([Example(example_id="1", text="a", label="y"), Example(example_id="2", text="b")])
    ('y',)
    """
    return tuple(sorted({one.label for one in examples if one.label}))


def _read(path: Path) -> list[Example]:
    return msgspec.json.Decoder(Example).decode_lines(path.read_bytes())


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)
