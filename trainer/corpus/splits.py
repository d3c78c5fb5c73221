"""Divides examples into parts: by time, by chance, or as given; no group is ever divided.

Chance is a hash of the seed and of what must stay together, so the order of rows changes nothing.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from schemas.errors import BadSettings
from trainer.corpus.examples import TEST, TRAIN, VALID, Example
from trainer.corpus.settings import DataSettings

_RANK = {TRAIN: 0, VALID: 1, TEST: 2}


@dataclass(frozen=True)
class Divided:
    """The part of each example, by position; empty: left out, because its group was divided."""

    parts: list[str]
    dropped: dict[str, int] = field(default_factory=dict)


def divide(
    examples: Sequence[Example],
    together: Sequence[str],
    given: Sequence[str],
    settings: DataSettings,
    seed: int,
) -> Divided:
    """Places every labelled example.

    Args:
        examples: in any order.
        together: equal for examples that must not be divided.
        given: the part that the source says, or empty.
        settings: how to divide, and the shares.
        seed: of chance.

    Raises:
        BadSettings: a split by time, and there are no times; a given test set that is empty.
    """
    if settings.split == "time":
        parts = _by_time(examples, settings)
    elif settings.split == "given":
        parts = _given(examples, together, given, settings, seed)
    else:
        parts = _by_chance(examples, together, (settings.valid_share, settings.test_share), seed)
    return _undivided(parts, together)


def _by_time(examples: Sequence[Example], settings: DataSettings) -> list[str]:
    times = sorted(one.at_ms for one in examples)
    if not times or times[0] == times[-1]:
        raise BadSettings("split = 'time' needs a column of times: data.columns.at")
    test_from = _cut(times, 1 - settings.test_share)
    valid_from = _cut(times, 1 - settings.test_share - settings.valid_share)
    return [
        TEST if one.at_ms >= test_from else VALID if one.at_ms >= valid_from else TRAIN
        for one in examples
    ]


def _cut(times: Sequence[int], share: float) -> int:
    place = round(len(times) * max(0.0, share))
    return times[place] if place < len(times) else times[-1] + 1


def _given(
    examples: Sequence[Example],
    together: Sequence[str],
    given: Sequence[str],
    settings: DataSettings,
    seed: int,
) -> list[str]:
    if TEST not in given:
        raise BadSettings("split = 'given' needs a test set: data.test_files")
    parts = [part or TRAIN for part in given]
    if VALID not in given:
        free = [place for place, part in enumerate(parts) if part == TRAIN]
        drawn = _by_chance(
            [examples[place] for place in free],
            [together[place] for place in free],
            (settings.valid_share, 0.0),
            seed,
        )
        for place, part in zip(free, drawn, strict=True):
            parts[place] = part
    return parts


def _by_chance(
    examples: Sequence[Example],
    together: Sequence[str],
    shares: tuple[float, float],
    seed: int,
) -> list[str]:
    """Whole units, drawn within each label and slice; a label's only unit is for training."""
    strata: dict[Hashable, list[str]] = defaultdict(list)
    for unit, one in dict(zip(reversed(together), reversed(examples), strict=True)).items():
        strata[one.label, one.slice].append(unit)
    place_of: dict[str, str] = {}
    for units in strata.values():
        ordered = sorted(units, key=lambda unit: (_chance(seed, unit), unit))
        test = round(len(ordered) * shares[1])
        valid = round(len(ordered) * (shares[0] + shares[1]))
        for rank, unit in enumerate(ordered):
            place_of[unit] = TEST if rank < test else VALID if rank < valid else TRAIN
    return [place_of[unit] for unit in together]


def _chance(seed: int, unit: str) -> bytes:
    text = f"{seed}\x00{unit}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def _undivided(parts: list[str], together: Sequence[str]) -> Divided:
    """Of a unit that lies in several parts, only what lies in the last of them stays."""
    last: dict[str, int] = {}
    for part, unit in zip(parts, together, strict=True):
        last[unit] = max(_RANK[part], last.get(unit, 0))
    kept = [
        part if _RANK[part] == last[unit] else ""
        for part, unit in zip(parts, together, strict=True)
    ]
    left_out = kept.count("")
    return Divided(kept, {"also in a later part": left_out} if left_out else {})
