"""A circuit opens on what fails, tries again, closes on what works, and does not flap."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from core.circuit import Circuit, Rule, allows, observed

RULE = Rule()
observations = st.lists(st.tuples(st.integers(0, 3_000), st.booleans()), max_size=400)


def _walk(steps: list[tuple[int, bool]]) -> list[tuple[int, Circuit]]:
    """The circuit after each observation, with its time."""
    found, circuit, now_ms = [], Circuit(), 0
    for later_ms, good in steps:
        now_ms += later_ms
        circuit = observed(circuit, RULE, good, now_ms)
        found.append((now_ms, circuit))
    return found


@given(observations)
def test_open_circuit_stays_open_for_its_hold(steps: list[tuple[int, bool]]) -> None:
    opened_ms: int | None = None
    hold_ms = 0
    for now_ms, circuit in _walk(steps):
        if circuit.state == "open":
            opened_ms, hold_ms = circuit.since_ms, circuit.hold_ms
        elif opened_ms is not None:
            assert circuit.since_ms - opened_ms >= hold_ms
            opened_ms = None
        assert RULE.hold_ms <= circuit.hold_ms <= RULE.most_ms or circuit.hold_ms == 0
        assert now_ms >= circuit.since_ms


@given(observations)
def test_circuit_never_flaps_whatever_it_observes(steps: list[tuple[int, bool]]) -> None:
    """Each opening holds twice as long as the last, so their number grows as a logarithm."""
    walk = _walk(steps)
    openings = len({circuit.since_ms for _, circuit in walk if circuit.state == "open"})
    took_ms = walk[-1][0] if walk else 0
    if took_ms < RULE.calm_ms:
        assert openings <= math.log2(took_ms / RULE.hold_ms + 1) + 1
    changes = sum(a.state != b.state for (_, a), (_, b) in itertools.pairwise(walk))
    assert changes <= 3 * openings + 1


@given(observations, st.integers(0, 10_000))
def test_what_works_again_closes_it(steps: list[tuple[int, bool]], later_ms: int) -> None:
    walk = _walk(steps)
    now_ms, circuit = walk[-1] if walk else (0, Circuit())
    now_ms += RULE.most_ms + later_ms
    assert allows(circuit, now_ms)
    for number in range(RULE.passes):
        circuit = observed(circuit, RULE, good=True, now_ms=now_ms + number)
    assert circuit.state == "closed"


@given(observations)
def test_good_observations_alone_never_open_it(steps: list[tuple[int, bool]]) -> None:
    assert all(c.state == "closed" for _, c in _walk([(later, True) for later, _ in steps]))


def test_two_failures_do_not_open_and_a_failed_trial_doubles_the_hold() -> None:
    circuit = Circuit()
    for good in (False, False, True, False, False):
        circuit = observed(circuit, RULE, good, 0)
    assert circuit.state == "closed"
    circuit = observed(circuit, RULE, good=False, now_ms=1)
    assert (circuit.state, allows(circuit, 5_000), allows(circuit, 5_001)) == ("open", False, True)
    circuit = observed(circuit, RULE, good=False, now_ms=5_001)
    assert (circuit.state, circuit.hold_ms) == ("open", 10_000)


def test_long_calm_forgets_earlier_openings() -> None:
    circuit = Circuit("closed", since_ms=0, hold_ms=160_000)
    for number in range(3):
        circuit = observed(circuit, RULE, good=False, now_ms=RULE.calm_ms + number)
    assert circuit.hold_ms == RULE.hold_ms
