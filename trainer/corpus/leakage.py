"""Whether the answer to the test is in the training part; each check names how many examples."""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.text_near import near_pairs, sameness_key
from schemas.errors import RejectedModel
from schemas.models import GateCheck
from trainer.corpus.clean import key_of
from trainer.corpus.examples import Corpus, Example
from trainer.corpus.settings import LeakageSettings

NEAR = 0.9
_LEAST_LETTERS = 3


def leaks(corpus: Corpus, settings: LeakageSettings) -> list[GateCheck]:
    """Every check, in a fixed order; `value` counts examples, or is a share for `label_words`."""
    known = [*corpus.train, *corpus.valid]
    return [
        _none("same_text", _shared(known, corpus.test, key_of), settings),
        _none("near_text", _near(known, corpus.test), settings),
        _none("group", _shared(known, corpus.test, lambda one: one.group), settings),
        _none("time", _too_late(known, corpus.test), settings),
        _label_words([*known, *corpus.test], corpus.labels, settings),
    ]


def refuse_leaks(checks: Sequence[GateCheck]) -> None:
    """Stops a training whose data gives its test away.

    Raises:
        RejectedModel: a check failed; names each with how many examples.
    """
    failed = [f"{one.name} ({one.detail})" for one in checks if not one.passed]
    if failed:
        raise RejectedModel(
            "leakage",
            f"the test part is given away by {', '.join(failed)}; "
            "data.leakage.allow in the task file allows it",
        )


def _none(name: str, count: int, settings: LeakageSettings) -> GateCheck:
    allowed = name in settings.allow
    detail = f"{count} examples" + (", allowed by the task file" if allowed and count else "")
    return GateCheck(
        name=name, passed=allowed or count == 0, value=float(count), threshold=0.0, detail=detail
    )


def _shared(known: Sequence[Example], test: Sequence[Example], key: object) -> int:
    of = key if callable(key) else key_of
    seen = {of(one) for one in known} - {""}
    return sum(of(one) in seen for one in test)


def _near(known: Sequence[Example], test: Sequence[Example]) -> int:
    every = [*known, *test]
    texts = [sameness_key(one.pair or one.text) for one in every]
    within = [sameness_key(one.text) if one.pair else "" for one in every]
    found = near_pairs(texts, NEAR, within)
    return len({second for first, second in found if first < len(known) <= second})


def _too_late(known: Sequence[Example], test: Sequence[Example]) -> int:
    """Test examples that are older than something that was trained on."""
    newest = max((one.at_ms for one in known), default=0)
    return sum(0 < one.at_ms < newest for one in test)


def _label_words(
    examples: Sequence[Example], labels: Sequence[str], settings: LeakageSettings
) -> GateCheck:
    """How many texts say their own label in words, and no other label."""
    patterns = {label: _as_words(label) for label in labels}
    labelled = [one for one in examples if one.label]
    count = sum(_says_only(one, patterns) for one in labelled)
    share = count / len(labelled) if labelled else 0.0
    allowed = "label_words" in settings.allow
    return GateCheck(
        name="label_words",
        passed=allowed or share <= settings.label_words,
        value=share,
        threshold=settings.label_words,
        n=len(labelled),
        detail=f"{count} examples",
    )


def _as_words(label: str) -> re.Pattern[str] | None:
    words = sameness_key(label.replace("_", " "))
    least = 2 if not words.isascii() else _LEAST_LETTERS
    if len(words) < least:
        return None
    return re.compile(re.escape(words) if not words.isascii() else rf"\b{re.escape(words)}\b")


def _says_only(one: Example, patterns: dict[str, re.Pattern[str] | None]) -> bool:
    own = patterns.get(one.label)
    text = sameness_key(f"{one.text} {one.pair}")
    if own is None or not own.search(text):
        return False
    others = (found for label, found in patterns.items() if label != one.label and found)
    return not any(other.search(text) for other in others)
