"""Weights that are fitted on the hold-out, where a surface has next to nothing to fit on."""

from __future__ import annotations

import numpy as np

from core.candidates import OWN, Candidates
from core.features import FEATURE_NAMES
from core.surfaces import BUY_AGAIN, DISCOVER, HOME
from trainer.recommend.evaluate import Judged, judge_cross_fitted
from trainer.recommend.holdout import HeldOut


def request(number: int, visitor: str, basket: str) -> HeldOut:
    """One whose visitor had bought "a"."""
    return HeldOut(number, visitor, number, ("a",), frozenset("a"), frozenset(basket))


def test_a_surface_that_one_customer_alone_uses_is_ranked_as_home_for_the_others() -> None:
    requests = [request(n, f"v{n % 4}", "ab" if n % 4 == 0 else "b") for n in range(40)]
    judged = Judged(requests, surfaces=(HOME, DISCOVER, BUY_AGAIN))
    rows = np.random.default_rng(1).random((40, 2, len(FEATURE_NAMES)))
    for surface in judged.surfaces:
        judged.gathered["m", surface] = [
            Candidates(["a", "b"], each, np.full(2, OWN, np.uint8)) for each in rows
        ]
    fitted = judge_cross_fitted(judged, "m")
    assert list(fitted) == [HOME, DISCOVER, BUY_AGAIN]
    assert fitted[BUY_AGAIN].version != fitted[HOME].version
    assert np.isfinite(judged.lists["m", BUY_AGAIN].hit).sum() == 10
