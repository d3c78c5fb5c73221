"""Changed copies of training texts; the same seed makes the same copies, whatever the order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from core.text_edits import delete_words, mask_span, pieces_of, replace_words, swap_words
from core.text_synonyms import synonyms_of
from schemas.errors import BadSettings
from trainer.corpus.examples import Example
from trainer.corpus.settings import AugmentSettings

AUGMENTED = "augmented"
Synonyms = Mapping[str, Sequence[str]]


def augmented(
    train: Sequence[Example], settings: AugmentSettings, seed: int, synonyms: Synonyms
) -> list[Example]:
    """The copies alone; each keeps label, value, group and slice. An unchanged copy is left out.

    Only the first text is changed: a product's text is what it is.
    """
    found = []
    for one in train:
        random = np.random.default_rng(_seed(seed, one.example_id))
        seen = {one.text}
        for number in range(settings.copies):
            change = settings.changes[number % len(settings.changes)]
            text = changed(one.text, change, settings, synonyms, random)
            if text in seen:
                continue
            seen.add(text)
            copy = msgspec.structs.replace(
                one,
                example_id=f"{one.example_id}~{number + 1}",
                text=text,
                weight=one.weight * settings.weight,
                origin=AUGMENTED,
            )
            found.append(copy)
    return found


def changed(
    text: str,
    change: str,
    settings: AugmentSettings,
    synonyms: Synonyms,
    random: np.random.Generator,
) -> str:
    """The text after one kind of change."""
    pieces, joint = pieces_of(text)
    count = max(1, round(settings.share * len(pieces)))
    if change == "synonym":
        found = replace_words(pieces, synonyms, count, random)
    elif change == "delete":
        found = delete_words(pieces, count, random)
    elif change == "swap":
        found = swap_words(pieces, count, random)
    else:
        found = mask_span(pieces, count, settings.mask, random)
    return joint.join(found)


def synonyms_for(
    train: Sequence[Example], settings: AugmentSettings, path: Path | None
) -> Synonyms:
    """From the operator's file, else from the training texts; empty where none are asked for."""
    if not settings.copies or "synonym" not in settings.changes:
        return {}
    if path is not None:
        return read_synonyms(path)
    texts = [[piece.casefold() for piece in pieces_of(one.text)[0]] for one in train]
    return synonyms_of(texts, [one.label for one in train])


def read_synonyms(path: Path) -> Synonyms:
    """A word and its synonyms a line, separated by commas or tabs.

    Raises:
        BadSettings: the file cannot be read; names it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path}: {error}") from error
    rows = ([word.strip() for word in line.replace("\t", ",").split(",")] for line in lines)
    return {row[0].casefold(): [word for word in row[1:] if word] for row in rows if len(row) > 1}


def _seed(seed: int, name: str) -> int:
    text = f"{seed}\x00{name}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
