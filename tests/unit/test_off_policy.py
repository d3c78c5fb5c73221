"""What exploring answers say of another ranking, and when they say nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from core.gate import Explored, off_policy
from core.off_policy import ESS_FLOOR, effective_sample_size, estimate, importance_weights
from core.sequence import SequenceScores, SequenceVocabulary
from schemas.models import GateCheck
from trainer.recommend.data import ExploredSlot
from trainer.recommend.evaluate import Scorer
from trainer.recommend.exploration import exploration_check

ITEMS = [f"i{number:02}" for number in range(40)]


def _drawn(n: int, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Which of twenty items was drawn for each of n answers, and whether it sold: the first do."""
    random = np.random.default_rng(seed)
    drawn = random.integers(20, size=n)
    return drawn, (random.random(n) < np.where(drawn < 5, 0.4, 0.1)).astype(np.float64)


def test_the_estimate_is_what_the_ranking_would_have_sold() -> None:
    drawn, sold = _drawn(40_000)
    good = estimate(importance_weights(drawn < 5, np.full(len(drawn), 0.05)), sold)
    poor = estimate(importance_weights(drawn >= 15, np.full(len(drawn), 0.05)), sold)
    assert good.ips == pytest.approx(5 * 0.4, rel=0.05)
    assert poor.ips == pytest.approx(5 * 0.1, rel=0.1)
    assert (good.snips, poor.snips) == (
        pytest.approx(0.4, abs=0.02),
        pytest.approx(0.1, abs=0.02),
    )


def test_two_matches_in_ten_thousand_give_a_plausible_number_that_does_not_count() -> None:
    listed = np.zeros(10_000, np.bool_)
    listed[[17, 4_711]] = True
    found = estimate(
        importance_weights(listed, np.full(10_000, 0.05)), np.arange(10_000) % 17 * 1.0
    )
    assert found.ess == pytest.approx(2.0)
    assert found.n == 10_000
    assert not found.counts


def test_one_great_weight_makes_a_sample_of_one() -> None:
    weights = np.array([1e6, *[1.0] * 1_000])
    assert effective_sample_size(weights) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("chance", [0.0, -0.1, 1.5])
def test_what_is_no_chance_is_refused(chance: float) -> None:
    with pytest.raises(ValueError, match="propensity"):
        importance_weights(np.array([True]), np.array([chance]))


def _check(candidate: range, champion: range, n: int) -> GateCheck:
    drawn, sold = _drawn(n)
    chances = np.full(n, 0.05)
    weights = [importance_weights(np.isin(drawn, list(r)), chances) for r in (candidate, champion)]
    customers = [f"c{number % 700}" for number in range(n)]
    return off_policy("off", weights[0], weights[1], Explored(sold, customers), seed=1)


def test_a_ranking_that_sells_less_fails_and_equals_or_better_pass() -> None:
    worse = _check(range(15, 20), range(5), 4_000)
    assert not worse.passed
    assert worse.high < 0
    assert _check(range(5), range(15, 20), 4_000).passed
    assert _check(range(5), range(5), 4_000).passed


def test_below_the_floor_the_number_does_not_count_and_says_so() -> None:
    check = _check(range(15, 20), range(5), 200)
    assert check.passed
    assert check.value < ESS_FLOOR == check.threshold
    assert check.detail.startswith("not judged: ESS ")


def _model(first: int) -> Scorer:
    words = SequenceVocabulary(ITEMS)
    row = np.full(len(ITEMS), -9.0, np.float32)
    row[first : first + 10] = -1.0

    def score(histories: Sequence[Sequence[str]]) -> list[SequenceScores]:
        return [SequenceScores(row, words) for _ in histories]

    return score


def _explored(n: int) -> list[ExploredSlot]:
    random = np.random.default_rng(4)
    return [
        ExploredSlot(number, f"v{number}", "home", (), f"i{drawn:02}", 0.05, bool(drawn < 10))
        for number, drawn in enumerate(random.integers(20, size=n).tolist())
    ]


def test_the_trainer_compares_what_both_sources_would_have_listed() -> None:
    models = {"candidate": _model(10), "champion": _model(0)}
    check = exploration_check(_explored(800), models, seed=1)
    assert not check.passed
    assert check.value == pytest.approx(-10.0, rel=0.1)
    turned = {"candidate": _model(0), "champion": _model(10)}
    assert exploration_check(_explored(800), turned, seed=1).passed


def test_without_champion_or_answers_the_check_is_not_judged_and_passes() -> None:
    alone = exploration_check(_explored(800), {"candidate": _model(0)}, seed=1)
    assert (alone.passed, alone.detail) == (True, "not judged: no champion to compare with")
    models = {"candidate": _model(10), "champion": _model(0)}
    none = exploration_check([], models, seed=1)
    assert (none.passed, none.detail) == (True, "not judged: ESS 0 < 100")


def test_what_the_shopper_knows_is_listed_by_neither_on_discover() -> None:
    known = [ExploredSlot(n, f"v{n}", "discover", ("i00",), "i00", 0.05, True) for n in range(400)]
    models = {"candidate": _model(0), "champion": _model(0)}
    assert exploration_check(known, models, seed=1).value == 0.0
