"""Expected hit rate of answers whose labels are not known yet, from their calibrated scores.

A slot's log-odds become a chance by a map learned on matured answers; a list hits with chance
1 − Π(1 − p) if its slots were independent, and a second map says how often such lists did hit. It
assumes that scores still mean what they meant: its error, once labels mature, says whether.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from core.calibration import Calibration, calibration
from core.judgement import K

REFIT_LISTS = 200
_SCORES = (-14.0, 0.25, 80)  # log-odds from −14 to 6
_LISTS = (0.0, 0.025, 40)


class HitExpectation(msgspec.Struct):
    """The two maps of one surface; nothing is expected before either has been fitted."""

    slots: Calibration = msgspec.field(default_factory=lambda: calibration(*_SCORES))
    lists: Calibration = msgspec.field(default_factory=lambda: calibration(*_LISTS))
    learned: int = 0

    def learn(self, scores: Sequence[float], labels: Sequence[int], hit: bool) -> None:
        """Takes in one matured answer that was judged: its slots' labels, and whether it hit."""
        places = self.slots.places(scores[:K])
        chance = self._independent(places)
        if chance is not None:
            self.lists.add(self.lists.place(chance), hit)
        self.slots.add_all(places, labels)
        self.learned += 1
        if self.learned % REFIT_LISTS == 0:
            self.slots.refit()
            self.lists.refit()

    def expected(self, scores: Sequence[float]) -> float | None:
        """The chance that this list hits, given that it will be judged; None while not known.

        >>> HitExpectation().expected([0.0]) is None
        True
        """
        chance = self._independent(self.slots.places(scores[:K]))
        if chance is None or not self.lists.table:
            return None
        return self.lists.table[self.lists.place(chance)]

    def _independent(self, places: list[int]) -> float | None:
        """1 − Π(1 − p) over slots in these bins."""
        table = self.slots.table
        return 1 - math.prod([1 - table[place] for place in places]) if table else None
