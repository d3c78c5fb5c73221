"""What a window says of the loop itself, over every arm: how often it explored, fell back, erred.

Beside it the accounting of attribution: purchases that no answer had shown, events whose answer
never came, answers that came too late. Sums alone, so order does not matter.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import msgspec

from core.intervals import Z95, wilson
from core.metric_cells import Figure
from schemas.ids import derived_id
from schemas.outcomes import BasketSeen, JoinCounts, JudgedList

BOUGHT_WINDOWS = 28


class Health(msgspec.Struct):
    """Counts over the loop's final answers on one surface within one window."""

    answers: int = 0
    explored: int = 0
    fell_back: int = 0
    erred: int = 0

    def add(self, judged: JudgedList) -> None:
        """Takes in one final answer of the loop, of whichever arm."""
        self.answers += 1
        self.explored += judged.arm == "explore"
        self.fell_back += judged.arm == "fallback"
        self.erred += judged.degraded

    def figures(self) -> list[Figure]:
        """Shares of answers; `n` counts them."""
        shares = {
            "exploration_share": self.explored,
            "fallback_share": self.fell_back,
            "error_share": self.erred,
        }
        return [share(name, count, self.answers) for name, count in shares.items()]


class Accounting(msgspec.Struct):
    """What one window's orders and events could not be credited to."""

    bought: int = 0
    unattributed: int = 0
    orphans: int = 0
    late_answers: int = 0

    def add(self, record: BasketSeen | JoinCounts) -> None:
        """Takes in one order, or what the join could not place."""
        if isinstance(record, BasketSeen):
            self.bought += len(record.item_ids)
            self.unattributed += record.unattributed
        else:
            self.orphans += record.orphans
            self.late_answers += record.late_answers

    def figures(self) -> list[Figure]:
        """Share of bought items that no answer had shown, and two counts with Poisson bounds."""
        found = [
            count_of("orphans", self.orphans),
            count_of("late_answers", self.late_answers),
        ]
        if self.bought:
            found.append(share("unattributed_share", self.unattributed, self.bought))
        return found


class Unplaced:
    """Orphans and late answers by visitor partition since they were last said."""

    def __init__(self, task: str) -> None:
        self._task = task
        self._counts: dict[int, tuple[int, int]] = {}

    def add(self, partition: int, orphans: int, late_answers: int) -> None:
        """Counts what one step or close could not place."""
        if orphans or late_answers:
            before = self._counts.get(partition, (0, 0))
            self._counts[partition] = before[0] + orphans, before[1] + late_answers

    def take(self, partition: int, closed_ms: int, moment_ms: int) -> JoinCounts | None:
        """What there is to say of a partition; the two times tell one statement from the next.

        >>> unplaced = Unplaced("recommend")
        >>> unplaced.add(0, 1, 0)
        >>> unplaced.take(0, 5, 0).orphans, unplaced.take(0, 5, 0)
        (1, None)
        """
        if not self._counts or partition not in self._counts:
            return None
        orphans, late_answers = self._counts.pop(partition)
        said = str(partition), str(closed_ms), str(moment_ms)
        return JoinCounts(
            counts_id=derived_id("counts", self._task, *said),
            task=self._task,
            event_time_ms=max(closed_ms, 0),
            orphans=orphans,
            late_answers=late_answers,
        )


class Bought(msgspec.Struct):
    """How often each item was bought within the newest windows."""

    by_window: dict[int, dict[str, int]] = {}
    total: dict[str, int] = {}

    def add(self, items: Iterable[str], window_ms: int) -> None:
        """Takes in one order, and forgets the window that has become one too many.

        >>> bought = Bought()
        >>> for window in range(30):
        ...     bought.add(["a"], window)
        >>> bought.total["a"], min(bought.by_window)
        (28, 2)
        """
        counts = self.by_window.setdefault(window_ms, {})
        for item in items:
            counts[item] = counts.get(item, 0) + 1
            self.total[item] = self.total.get(item, 0) + 1
        while len(self.by_window) > BOUGHT_WINDOWS:
            for item, n in self.by_window.pop(min(self.by_window)).items():
                self.total[item] -= n
                if not self.total[item]:
                    del self.total[item]


def novelty(exposures: Mapping[str, int], bought: Mapping[str, int]) -> Figure | None:
    """Mean surprise in bits of what was shown: −log2 of the item's share of purchases.

    Counts are raised by one, so that an item nobody bought has a finite surprise. It describes all
    that was shown, without sampling: its bounds are the value.
    Source: Castells, Vargas, Wang 2011, section 3.1 (popularity-based novelty).

    >>> round(novelty({"a": 1, "b": 1}, {"a": 2}).value, 3)
    1.208
    """
    shown = sum(exposures.values())
    if not shown:
        return None
    total = sum(bought.values()) + len(bought.keys() | exposures.keys())
    bits = sum(n * math.log2((bought.get(item, 0) + 1) / total) for item, n in exposures.items())
    value = -bits / shown
    return Figure("novelty", value, shown, value, value)


def share(name: str, successes: int, n: int) -> Figure:
    """A proportion with its Wilson bounds."""
    return Figure(name, successes / n if n else 0.0, n, *wilson(successes, n))


def count_of(name: str, count: int) -> Figure:
    """A count with 95 % Poisson bounds: (√(x + ¼) ± z/2)², source: Brown, Zhao 2002, section 2.

    >>> figure = count_of("orphans", 9)
    >>> figure.value, round(figure.low, 2), round(figure.high, 2)
    (9.0, 4.25, 16.17)
    """
    root = math.sqrt(count + 0.25)
    low = max(0.0, root - Z95 / 2) ** 2
    return Figure(name, float(count), count, low if count else 0.0, (root + Z95 / 2) ** 2)
