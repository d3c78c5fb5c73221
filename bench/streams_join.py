"""What the join must have written: answers final once, statements once, events once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from bench.streams_ground import read_all
from core.settings import Settings
from schemas import topics


class Statement(msgspec.Struct):
    """The parts of an outcome that say which statement it is."""

    prediction_id: str
    age: str
    version: int


class Named(msgspec.Struct):
    """The ids of a record, whichever kind it is; a watermark has none of them."""

    event_id: str = ""
    prediction_id: str = ""


_statement = msgspec.json.Decoder(Statement).decode
_named = msgspec.json.Decoder(Named).decode


def join_facts(settings: Settings) -> dict[str, Any]:
    """Reads inputs and outputs back, committed records alone, and compares them."""
    answers = (
        _named(m.value() or b"{}").prediction_id for m in read_all(settings, topics.PREDICTIONS)
    )
    outcomes = (_statement(m.value() or b"{}") for m in read_all(settings, topics.OUTCOMES))
    events = (_named(m.value() or b"{}").event_id for m in read_all(settings, topics.EVENTS))
    valid = (_named(m.value() or b"{}").event_id for m in read_all(settings, topics.EVENTS_VALID))
    return compared(answers, outcomes, events, valid)


def compared(
    answers: Iterable[str],
    outcomes: Iterable[Statement],
    events: Iterable[str],
    valid: Iterable[str],
) -> dict[str, Any]:
    """Counts what is missing and what is there twice.

    Args:
        answers: the prediction id of each answer; empty ones are barriers.
        outcomes: each statement written.
        events: the id of each valid event written by the shop, repeats included.
        valid: the id of each event passed on.

    >>> said = [Statement("p", "final", 1), Statement("p", "final", 1)]
    >>> found = compared(["p", "q", ""], said, ["e", "e"], ["e"])
    >>> found["lost"], found["twice"], found["finals"]
    (1, 2, 2)
    """
    wanted = set(filter(None, answers))
    finals: Counter[str] = Counter()
    statements: Counter[tuple[str, int]] = Counter()
    for each in outcomes:
        statements[each.prediction_id, each.version] += 1
        finals[each.prediction_id] += each.age == "final"
    passed = Counter(filter(None, valid))
    distinct = set(filter(None, events))
    lost = len(wanted.difference(+finals))
    return {
        "answers": len(wanted),
        "finals": finals.total(),
        "statements": statements.total(),
        "events": len(distinct),
        "lost": lost + len(distinct.difference(passed)),
        "twice": _surplus(finals) + _surplus(statements) + _surplus(passed),
        "unknown": len(set(finals) - wanted) + len(set(passed) - distinct),
    }


def _surplus(counts: Counter[Any]) -> int:
    return sum(n - 1 for n in counts.values() if n > 1)
