"""The scan finds a rise of errors without a baseline given, and is silent when they fall."""

import msgspec
import numpy as np
import pytest

from core.drift_scan import LEAST_BEFORE, ErrorScan


def _alarms(scan: ErrorScan, rates: list[tuple[int, float]], seed: int) -> list[int]:
    random = np.random.default_rng(seed)
    events = np.concatenate([random.random(n) < rate for n, rate in rates]).tolist()
    return [at for at, event in enumerate(events, 1) if scan.update(event) is not None]


@pytest.mark.parametrize("seed", range(5))
def test_a_rise_is_found_soon(seed: int) -> None:
    alarms = _alarms(ErrorScan(1e6), [(2_000, 0.1), (400, 0.5)], seed)
    assert len(alarms) == 1
    assert 2_000 < alarms[0] < 2_100


@pytest.mark.parametrize("seed", range(5))
def test_a_learner_that_becomes_better_never_alarms(seed: int) -> None:
    assert _alarms(ErrorScan(1e6), [(3_000, 0.7), (3_000, 0.4), (3_000, 0.1)], seed) == []


def test_a_rise_after_learning_is_held_against_the_newer_level() -> None:
    scan = ErrorScan(1e6)
    alarms = _alarms(scan, [(3_000, 0.6), (3_000, 0.1), (600, 0.3)], 3)
    assert len(alarms) == 1
    assert 6_000 < alarms[0] < 6_300
    assert scan.baseline == pytest.approx(0.1, abs=0.05)


def test_false_alarms_on_steady_streams_stay_within_the_budget() -> None:
    alarms = sum(len(_alarms(ErrorScan(1e3), [(2_000, 0.3)], seed)) for seed in range(50))
    assert alarms <= 50 * 2_000 / 1e3


def test_evidence_names_effect_n_and_the_rise_that_could_be_seen() -> None:
    scan, found = ErrorScan(1e6), None
    random = np.random.default_rng(4)
    for at in range(3_000):
        found = scan.update(bool(random.random() < (0.1 if at < 2_500 else 0.5))) or found
    assert found is not None
    assert found.statistic >= found.threshold
    assert found.effect > 0.2
    assert 2_500 < found.n < 2_600
    assert 0.02 < found.minimum_detectable < 0.1


def test_nothing_is_said_before_there_is_something_to_compare_with() -> None:
    assert _alarms(ErrorScan(10.0), [(LEAST_BEFORE + 15, 1.0)], 0) == []


def test_an_alarm_stands_while_errors_stay_up_and_a_second_rise_alarms_again() -> None:
    scan = ErrorScan(1e6)
    assert _alarms(scan, [(2_000, 0.1), (500, 0.5)], 5)
    stands = scan.standing()
    assert (stands.over, stands.quiet) == (True, False)
    assert stands.since > 300
    assert _alarms(scan, [(6_000, 0.05)], 6) == []
    assert scan.standing().quiet
    assert _alarms(scan, [(500, 0.5)], 7)


def test_a_scan_goes_on_exactly_from_saved_state() -> None:
    kept = ErrorScan(1e6)
    assert _alarms(kept, [(20_000, 0.2)], 8) == []
    loaded = msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=ErrorScan)
    after = [(20_000, 0.2), (400, 0.5)]
    assert _alarms(kept, after, 9) == _alarms(loaded, after, 9)
    assert msgspec.msgpack.encode(kept) == msgspec.msgpack.encode(loaded)
