"""Cleans examples: tidy texts, no duplicates, no contradictions; what is left out is counted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median

import msgspec

from core.text_language import plainly_not
from core.text_near import clusters, near_pairs, sameness_key
from trainer.corpus.examples import Example
from trainer.corpus.settings import CleanSettings
from trainer.corpus.tidy import tidied


@dataclass(frozen=True)
class Placed:
    """An example and the part that its source says; `known` where it has the label of its task."""

    example: Example
    part: str = ""
    known: bool = True

    @property
    def fixed(self) -> bool:
        """Whether its source has put it into the test or validation part: it stays as it is."""
        return self.part in ("test", "valid")


@dataclass
class Cleaned:
    """What is left, what must not be divided (equal numbers), and what was left out by reason."""

    kept: list[Placed]
    together: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def clean(
    placed: Sequence[Placed], settings: CleanSettings, language: str, *, titled: bool = False
) -> Cleaned:
    """Tidies and leaves out; the test set that a source gives is tidied, and loses no usable row.

    Args:
        placed: in the order read; of two that are the same the first stays.
        settings: how.
        language: the task's.
        titled: whether the first line of `pair` is a title, which stays a line of its own.
    """
    found = Cleaned([])
    found.kept = list(_tidy(placed, settings, (language, titled), found.dropped))
    found.kept = _one_per_id(found.kept, found.dropped)
    keys = [key_of(one.example) for one in found.kept]
    if settings.conflicts != "keep":
        found.kept = _agreed(found.kept, keys, settings, found.dropped)
        keys = [key_of(one.example) for one in found.kept]
    if settings.duplicates:
        found.kept = _first_of_same(found.kept, keys, "duplicate", found.dropped)
    pairs = _near(found.kept, settings) if settings.duplicates else []
    if not settings.duplicates:  # texts repeat by nature: neither left out nor kept together
        found.together = _together(found.kept, range(len(found.kept)), by_text=False)
    elif pairs:
        same = clusters(len(found.kept), pairs)
        before = found.kept
        kept = [
            place
            for place, one in enumerate(before)
            if one.fixed or not _repeats(before, same, place)
        ]
        found.dropped["near duplicate"] += len(before) - len(kept)
        found.kept = [before[place] for place in kept]
        found.together = _together(found.kept, [same[place] for place in kept])
    else:
        found.together = _together(found.kept, clusters(len(found.kept), pairs))
    return found


def key_of(one: Example) -> str:
    """What two examples with the same text share."""
    key = sameness_key(one.text)
    return f"{key}\x00{sameness_key(one.pair)}" if one.pair else key


def _tidy(
    placed: Sequence[Placed],
    settings: CleanSettings,
    told: tuple[str, bool],
    dropped: Counter[str],
) -> Iterator[Placed]:
    language, titled = told
    for one in placed:
        if max(len(one.example.text), len(one.example.pair)) > settings.longest:
            dropped["too long"] += 1
            continue
        text = tidied(one.example.text, settings)
        pair = (_titled if titled else tidied)(one.example.pair, settings)
        if text is None or pair is None:
            dropped["markup without end"] += 1
        elif len(text) < settings.shortest or (one.example.pair and not pair):
            dropped["too short"] += 1
        elif settings.only_language and plainly_not(language, text):
            dropped["other language"] += 1
        else:
            better = msgspec.structs.replace(one.example, text=text, pair=pair)
            yield Placed(better, one.part, one.known)


def _titled(text: str, settings: CleanSettings) -> str | None:
    title, _, body = text.strip().partition("\n")
    lines = [tidied(one, settings) for one in (title, body)]
    return None if None in lines else "\n".join(filter(None, lines))


def _one_per_id(placed: Sequence[Placed], dropped: Counter[str]) -> list[Placed]:
    found = {one.example.example_id: one for one in reversed(placed)}
    dropped["repeated id"] += len(placed) - len(found)
    return list(reversed(found.values()))


def _agreed(
    placed: Sequence[Placed], keys: Sequence[str], settings: CleanSettings, dropped: Counter[str]
) -> list[Placed]:
    """Texts with several answers: left out, or given the answer of most."""
    answers: dict[str, list[Example]] = defaultdict(list)
    for one, key in zip(placed, keys, strict=True):
        if one.known and not one.fixed:
            answers[key].append(one.example)
    divided = {
        key: same
        for key, same in answers.items()
        if len({(each.label, each.value) for each in same}) > 1
    }
    found = []
    for one, key in zip(placed, keys, strict=True):
        if one.fixed or not one.known or key not in divided:
            found.append(one)
        elif settings.conflicts == "majority":
            found.append(Placed(_most(one.example, divided[key]), one.part))
        else:
            dropped["conflicting label"] += 1
    return found


def _most(one: Example, same: Sequence[Example]) -> Example:
    counts = Counter(each.label for each in same)
    label = min(counts, key=lambda each: (-counts[each], each))
    values = [each.value for each in same if each.value is not None]
    return msgspec.structs.replace(one, label=label, value=median(values) if values else None)


def _first_of_same(
    placed: Sequence[Placed], keys: Sequence[str], reason: str, dropped: Counter[str]
) -> list[Placed]:
    seen: set[tuple[str, bool]] = set()
    found = []
    # A labelled example goes before the same text without a label.
    labelled = {key for one, key in zip(placed, keys, strict=True) if one.known}
    for one, key in zip(placed, keys, strict=True):
        again = (key, one.known) in seen or (not one.known and key in labelled)
        if again and not one.fixed:
            dropped[reason] += 1
            continue
        if not one.fixed:
            seen.add((key, one.known))
        found.append(one)
    return found


def _near(placed: Sequence[Placed], settings: CleanSettings) -> list[tuple[int, int]]:
    keys = [key_of(one.example) for one in placed]
    first: dict[str, int] = {}
    same = [
        (first.setdefault(key, place), place)
        for place, key in enumerate(keys)
        if first.setdefault(key, place) != place
    ]
    if not settings.near_duplicates:
        return same
    # Of a pair the second text is compared, and only among equal first texts: a product that is
    # found by two queries is no duplicate.
    texts = [sameness_key(one.example.pair or one.example.text) for one in placed]
    within = [sameness_key(one.example.text) if one.example.pair else "" for one in placed]
    return same + near_pairs(texts, settings.near_duplicates, within)


def _repeats(placed: Sequence[Placed], same: Sequence[int], place: int) -> bool:
    """Whether it says again what the first of its like says, with the same answer."""
    first = placed[same[place]]
    if same[place] == place or first.fixed:  # what is like a test text goes when parts are divided
        return False
    one = placed[place]
    if not one.known:
        return True
    answers = (one.example.label, one.example.value), (first.example.label, first.example.value)
    return first.known and answers[0] == answers[1]


def _together(placed: Sequence[Placed], same: Sequence[int], *, by_text: bool = True) -> list[str]:
    """Equal for examples of one group or nearly one text, through any chain of them."""
    first_with: dict[str, int] = {}
    first_alike: dict[int, int] = {}
    pairs = []
    for place, (one, alike) in enumerate(zip(placed, same, strict=True)):
        pairs.append((first_alike.setdefault(alike, place), place))
        if one.example.group:
            pairs.append((first_with.setdefault(one.example.group, place), place))
    roots = clusters(len(placed), pairs)
    return [_unit(placed[root].example, by_text) for root in roots]


def _unit(one: Example, by_text: bool) -> str:
    if one.group:
        return f"group\x00{one.group}"
    return f"text\x00{key_of(one)}" if by_text else f"id\x00{one.example_id}"
