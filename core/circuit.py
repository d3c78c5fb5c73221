"""When something that fails is left alone for a while, and tried again: a circuit breaker.

A value and two functions over it. Knows neither what fails nor any clock.

Source: M. Nygard, Release It!, 2nd edition, chapter 5, Circuit Breaker.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True)
class Rule:
    """When a circuit opens and closes. Times in milliseconds.

    Args:
        strikes: bad observations in a row that open it.
        passes: good ones in a row that close it again, from its first trial on.
        hold_ms: how long it stays open before a trial; twice that each time it opens again.
        most_ms: and never longer than this.
        calm_ms: closed for as long, it is forgotten that it was ever open.
    """

    strikes: int = 3
    passes: int = 3
    hold_ms: int = 5_000
    most_ms: int = 300_000
    calm_ms: int = 600_000


@dataclass(frozen=True)
class Circuit:
    """Where a circuit stands, since when, and how many observations in a row said otherwise."""

    state: State = "closed"
    since_ms: int = 0
    streak: int = 0
    hold_ms: int = 0


def allows(circuit: Circuit, now_ms: int) -> bool:
    """Whether what may fail is to be used now; once an open circuit's time is over, as a trial.

    >>> allows(Circuit("open", since_ms=0, hold_ms=5_000), 4_999)
    False
    """
    return circuit.state != "open" or now_ms - circuit.since_ms >= circuit.hold_ms


def observed(circuit: Circuit, rule: Rule, good: bool, now_ms: int) -> Circuit:
    """The circuit after an observation; while it is open and not due for a trial, the same.

    >>> failing = Circuit()
    >>> for second in range(3):
    ...     failing = observed(failing, Rule(), good=False, now_ms=1_000 * second)
    >>> failing
    Circuit(state='open', since_ms=2000, streak=0, hold_ms=5000)
    """
    if circuit.state == "closed":
        return _closed(circuit, rule, good, now_ms)
    if not allows(circuit, now_ms):
        return circuit
    if not good:
        return _opened(circuit, rule, now_ms)
    if circuit.state == "open":
        circuit = replace(circuit, state="half_open", since_ms=now_ms, streak=0)
    if circuit.streak + 1 >= rule.passes:
        return replace(circuit, state="closed", since_ms=now_ms, streak=0)
    return replace(circuit, streak=circuit.streak + 1)


def _closed(circuit: Circuit, rule: Rule, good: bool, now_ms: int) -> Circuit:
    if good:
        return replace(circuit, streak=0) if circuit.streak else circuit
    if circuit.streak + 1 >= rule.strikes:
        calm = now_ms - circuit.since_ms >= rule.calm_ms
        return _opened(replace(circuit, hold_ms=0) if calm else circuit, rule, now_ms)
    return replace(circuit, streak=circuit.streak + 1)


def _opened(circuit: Circuit, rule: Rule, now_ms: int) -> Circuit:
    hold_ms = min(2 * circuit.hold_ms, rule.most_ms) or rule.hold_ms
    return Circuit("open", now_ms, 0, hold_ms)
