"""The rolling area under the curve is the exact one, ties included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import optim
from scipy.stats import rankdata

from core.ranker import OnlineRanker, _AdaGrad
from core.rolling_auc import AUC_SLOTS, RollingAuc, exact_auc

SCORES = st.sampled_from([-1.0, -0.5, 0.0, 0.1, 0.2, 3.0])


@given(st.lists(st.tuples(st.integers(0, 1), SCORES), min_size=2, max_size=60))
def test_it_equals_the_share_of_pairs_in_the_right_order(slots: list[tuple[int, float]]) -> None:
    good = [score for label, score in slots if label]
    bad = [score for label, score in slots if not label]
    found = exact_auc(np.array([y for y, _ in slots]), np.array([s for _, s in slots]))
    if not good or not bad:
        assert found is None
        return
    pairs = [(g > b) + (g == b) / 2 for g in good for b in bad]
    assert found == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)


@pytest.mark.parametrize("step", [None, 0.5, 100.0])
def test_it_follows_the_window_within_a_billionth(step: float | None) -> None:
    random, rolling = np.random.default_rng(3), RollingAuc()
    labels: list[int] = []
    scores: list[float] = []
    for number in range(900):
        good = (random.random(10) < 0.05).astype(int).tolist()
        drawn = random.normal(size=10) + np.array(good)
        said = (drawn if step is None else np.round(drawn / step) * step).tolist()
        rolling.add(good, said)
        labels, scores = (labels + good)[-AUC_SLOTS:], (scores + said)[-AUC_SLOTS:]
        if number % 97 == 50:
            ranks = rankdata(scores)
            positives = sum(labels)
            above = ranks[np.array(labels) == 1].sum() - positives * (positives + 1) / 2
            exact = above / (positives * (len(labels) - positives))
            known = rolling.value()
            assert known is not None
            assert known[0] == pytest.approx(exact, abs=1e-9)
            assert RollingAuc(rolling.newest()).value() == known


def test_the_ranker_steps_as_rivers_adagrad_does_to_the_last_bit() -> None:
    random = np.random.default_rng(4)
    ours, rivers = _AdaGrad(0.3), optim.AdaGrad(0.3)
    names = list(OnlineRanker().names)
    mine, theirs = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for _ in range(200):
        slopes = dict(zip(names, random.normal(size=len(names)).tolist(), strict=True))
        ours.step(w=mine, g=slopes)
        rivers.step(w=theirs, g=slopes)
    assert mine == theirs
    assert ours.n_iterations == rivers.n_iterations == 200
