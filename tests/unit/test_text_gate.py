"""What the gate of a text model lets pass, and what it refuses."""

from __future__ import annotations

import numpy as np

from core.gate import verdict
from core.text_gate import HeldOut, f1_difference, fairness_checks, rival_checks, slice_checks
from core.text_metrics import (
    calibration_error,
    class_report,
    confusion,
    fit_temperature,
    log_softmax,
    macro_f1,
    ndcg_by_group,
    regression,
    row_log_loss,
)

CLASSES = 4


def answers(truth: np.ndarray, right: float, seed: int) -> np.ndarray:
    """Logits that name the true class in this share of the rows, any class in the others."""
    random = np.random.default_rng(seed)
    said = np.where(random.random(len(truth)) < right, truth, random.integers(0, CLASSES, 600))
    return np.eye(CLASSES)[said.astype(int)] * 3.0


def held_out(slices: list[str] | None = None) -> HeldOut:
    truth = np.random.default_rng(0).integers(0, CLASSES, 600).astype(np.float64)
    return HeldOut(truth, [str(i) for i in range(600)], slices or [""] * 600, CLASSES)


def test_candidate_as_good_as_its_rivals_passes() -> None:
    rows = held_out()
    good = answers(rows.truth, 0.9, 1)
    prior = np.tile([1.0, 0.0, 0.0, 0.0], (600, 1))
    checks = rival_checks(rows, good, {"prior": prior, "champion": good}, 0.01, seed=3)
    assert verdict(checks).passed
    assert {check.name for check in checks} == {
        "accuracy_vs_prior", "accuracy_vs_champion", "macro_f1_vs_champion",
    }  # fmt: skip
    assert all(check.low <= check.value <= check.high and check.n == 600 for check in checks)


def test_candidate_that_only_guesses_is_refused_at_the_prior() -> None:
    rows = held_out()
    prior = np.tile([1.0, 0.0, 0.0, 0.0], (600, 1))
    checks = rival_checks(rows, answers(rows.truth, 0.0, 1), {"prior": prior}, 0.01, seed=3)
    assert verdict(checks).reason == "failed: accuracy_vs_prior"


def test_candidate_that_loses_in_one_slice_is_refused_there() -> None:
    rows = held_out(["a"] * 300 + ["b"] * 290 + ["c"] * 10)
    champion, candidate = answers(rows.truth, 0.95, 1), answers(rows.truth, 0.95, 1)
    candidate[300:590] = answers(rows.truth, 0.6, 2)[300:590]
    checks = {one.name: one for one in slice_checks(rows, candidate, champion, 0.05, seed=3)}
    assert checks["slice_a"].passed
    assert not checks["slice_b"].passed
    assert checks["slice_c"].detail == "not judged: 10 rows < 30"


def test_group_with_many_more_errors_breaks_the_fairness_limits() -> None:
    rows = held_out(["a"] * 300 + ["b"] * 300)
    candidate = answers(rows.truth, 1.0, 1)
    candidate[300:] = answers(rows.truth, 0.5, 2)[300:]
    checks = fairness_checks(rows, candidate, 0.1, 0.5, seed=3)
    assert [(one.name, one.passed) for one in checks] == [
        ("largest_gap", False), ("largest_group_error", True),
    ]  # fmt: skip
    assert 0.3 < checks[0].low < checks[0].value < checks[0].high < 0.5
    assert fairness_checks(rows, candidate, None, None, seed=3) == []


def test_error_of_numbers_is_compared_in_standard_deviations() -> None:
    truth = np.linspace(1.0, 5.0, 100)
    rows = HeldOut(truth, [str(i) for i in range(100)], [""] * 100, scale=2.0)
    candidate, champion = truth[:, None] + 0.1, truth[:, None] + 0.3
    (check,) = rival_checks(rows, candidate, {"champion": champion}, 0.01, seed=3)
    assert check.name == "error_vs_champion"
    assert check.detail == "superior"
    assert np.isclose(check.value, 0.1)


def test_interval_of_macro_f1_agrees_with_scikit_learn_on_the_figure() -> None:
    from sklearn.metrics import f1_score

    rows = held_out()
    a, b = answers(rows.truth, 0.8, 1), answers(rows.truth, 0.6, 2)
    value, low, high = f1_difference(rows, a, b, seed=5)
    expected = [f1_score(rows.truth, one.argmax(1), average="macro") for one in (a, b)]
    assert np.isclose(value, expected[0] - expected[1], atol=1e-6)
    assert low < value < high


def test_figures_agree_with_scikit_learn_and_scipy() -> None:
    from scipy.stats import spearmanr
    from sklearn import metrics

    random = np.random.default_rng(4)
    truth, said = random.integers(0, CLASSES, 200), random.integers(0, CLASSES, 200)
    assert np.isclose(
        macro_f1(truth, said, CLASSES), metrics.f1_score(truth, said, average="macro")
    )
    assert (confusion(truth, said, CLASSES) == metrics.confusion_matrix(truth, said)).all()
    report = class_report(truth, said, ("a", "b", "c", "d"))
    expected = metrics.classification_report(truth, said, output_dict=True)
    assert np.isclose(report[2].precision, expected["2"]["precision"])
    values = random.integers(0, 5, 60).astype(float)
    guesses = values + random.normal(size=60).round(1)
    found = regression(guesses, values)
    assert np.isclose(found["spearman"], spearmanr(guesses, values).statistic)
    assert np.isclose(found["r2"], metrics.r2_score(values, guesses))
    grades, scores = random.integers(0, 4, 12).astype(float), random.normal(size=12).round(1)
    theirs = metrics.ndcg_score([np.exp2(grades) - 1], [scores], k=10)
    assert np.isclose(ndcg_by_group(scores, grades, ["q"] * 12)[0], theirs)


def test_temperature_takes_back_overconfidence() -> None:
    random = np.random.default_rng(6)
    honest = random.normal(size=(4_000, 3)) * 2
    chances = np.exp(log_softmax(honest))
    truth = (chances.cumsum(1) < random.random((4_000, 1))).sum(1)
    loud = honest * 4.0
    temperature = fit_temperature(loud, truth)
    assert abs(temperature - 4.0) < 0.3
    before, after = (np.exp(log_softmax(loud, each)) for each in (1.0, temperature))
    right = (loud.argmax(1) == truth).astype(float)
    assert calibration_error(before.max(1), right) > 0.1
    assert calibration_error(after.max(1), right) < 0.02
    losses = [row_log_loss(log_softmax(loud, each), truth).mean() for each in (1.0, temperature)]
    assert losses[1] < losses[0]
