"""Weak labels: a task file's rules vote on texts without a label."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec
import numpy as np

from core.text_votes import ABSTAINS, Voted, Votes, majority, trusted
from schemas.errors import BadSettings
from trainer.corpus.examples import Corpus, Example
from trainer.corpus.settings import WeakRule, WeakSettings

WEAK = "weak"


def label_weakly(corpus: Corpus, settings: WeakSettings) -> tuple[Corpus, dict[str, float]]:
    """Moves what the rules can label into the training part; and how far each rule was right.

    A rule's accuracy is known from the labelled training texts and from agreement with other rules.
    The validation and test parts are never looked at.
    """
    if not settings.rules:
        return corpus, {}
    known = list(corpus.train)
    told_of = {one.label for one in known} | {rule.label for rule in settings.rules}
    labels = sorted(told_of | set(corpus.labels))
    votes = votes_of([*known, *corpus.unlabelled], settings.rules, labels)
    voted = _combined(votes, known, labels, settings)
    weak, left = [], []
    for place, one in enumerate(corpus.unlabelled, start=len(known)):
        enough = int((votes[place] >= 0).sum()) >= settings.least_votes
        label, trust = int(voted.label[place]), float(voted.trust[place])
        if label == ABSTAINS or not enough or trust < settings.least_trust:
            left.append(one)
        else:
            given = {"label": labels[label], "weight": round(trust, 4), "origin": WEAK}
            weak.append(msgspec.structs.replace(one, **given))
    told = {
        f"{number}:{rule.label}": round(float(accuracy), 4)
        for number, (rule, accuracy) in enumerate(
            zip(settings.rules, voted.accuracy, strict=True), 1
        )
    }
    better = msgspec.structs.replace(
        corpus, train=[*corpus.train, *weak], unlabelled=left, labels=tuple(labels)
    )
    return better, told


def votes_of(
    examples: Sequence[Example], rules: Sequence[WeakRule], labels: Sequence[str]
) -> Votes:
    """The label number each rule votes for, or `ABSTAINS`; shape `(n_examples, n_rules)`.

    Raises:
        BadSettings: a rule has neither keywords nor a pattern, or one that is not understood.
    """
    votes = np.full((len(examples), len(rules)), ABSTAINS, dtype=np.int64)
    for column, rule in enumerate(rules):
        pattern = _pattern(rule)
        for row, one in enumerate(examples):
            if pattern.search(f"{one.text} {one.pair}"):
                votes[row, column] = labels.index(rule.label)
    return votes


def _combined(
    votes: Votes, known: Sequence[Example], labels: Sequence[str], settings: WeakSettings
) -> Voted:
    if settings.combine == "majority":
        return majority(votes, len(labels))
    said = np.full(len(votes), ABSTAINS, dtype=np.int64)
    said[: len(known)] = [labels.index(one.label) for one in known]
    return trusted(votes, len(labels), said)


def _pattern(rule: WeakRule) -> re.Pattern[str]:
    if not rule.keywords and not rule.matches:
        raise BadSettings(f"data.weak.rules: the rule for {rule.label!r} has nothing to look for")
    # A word boundary means nothing between letters of a script without blanks.
    words = [
        rf"\b{re.escape(word)}\b" if word.isascii() else re.escape(word) for word in rule.keywords
    ]
    try:
        return re.compile("|".join([*words, *filter(None, [rule.matches])]), re.IGNORECASE)
    except re.error as error:
        raise BadSettings(f"data.weak.rules: {rule.matches!r}: {error}") from error
