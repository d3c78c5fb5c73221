"""When a training also searches hyper-parameters: on structural triggers alone.

New data of the same kind asks for new weights, not for another recipe; a search for each alarm
would cost many trainings and find noise.
"""

from __future__ import annotations

from schemas.metrics import DriftKind

REFUSED_IN_A_ROW = 2


def why_search(*, first: bool, refused: int, drift: DriftKind | None, asked: bool) -> str:
    """The first structural trigger that holds, or nothing: the champion's recipe is used again.

    `refused` counts the versions that the offline gate refused since the last promotion.

    >>> why_search(first=False, refused=0, drift="concept", asked=False)
    'concept drift'
    >>> why_search(first=False, refused=1, drift="covariate", asked=False)
    ''
    """
    triggers = (
        (asked, "asked for"),
        (first, "first version"),
        (refused >= REFUSED_IN_A_ROW, f"the gate refused {refused} in a row"),
        (drift == "concept", "concept drift"),
    )
    return next((reason for holds, reason in triggers if holds), "")


def beats_champion(champion: float, interval: tuple[float, float], best: float) -> bool:
    """Whether a trial's score (higher is better) lies beyond the champion's interval.

    >>> beats_champion(0.80, (0.78, 0.82), 0.81), beats_champion(0.80, (0.78, 0.82), 0.83)
    (False, True)
    """
    return best > max(champion, interval[1])
