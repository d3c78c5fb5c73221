"""A scan over recent windows for a rise of a yes-or-no rate, with no baseline given beforehand.

Made for learners that are tested and then trained on every instance: their errors fall while they
learn, so no first stretch can serve as the level to compare with. It knows no learner.
"""

from __future__ import annotations

import math

import msgspec

from core.drift_types import Observed, Standing

WINDOWS = tuple(16 * 2**k for k in range(10))
"""Newest observations that are held against all before them."""
LEAST_BEFORE = 16
_LOOKS = 16
"""A window of w is looked at every w / 16 observations: two looks an observation over all ten."""
_MOST_REMEMBERED = 2 * WINDOWS[-1]


class ErrorScan(msgspec.Struct):
    """Generalised likelihood ratio of "the newest w have another rate than those before them".

    A ratio of ln(budget) or more alarms when the rate rose; when it fell, the learner has become
    better and what was before is forgotten without a word. 1/budget is Chernoff's bound for one
    window at one step; as neighbouring looks see nearly the same observations, the measured rate
    of false alarms on steady streams stays below the budget (`python -m bench drift` prints it).

    Source: Siegmund and Venkatraman 1995 ("Using the generalized likelihood ratio statistic for
    sequential detection of a change-point"), for Bernoulli observations and dyadic windows.
    """

    budget: float
    n: int = 0
    events: int = 0
    recent: bytearray = msgspec.field(default_factory=bytearray)
    raised_at: int | None = None
    baseline: float = 0.0
    run_events: int = 0

    def update(self, event: bool) -> Observed | None:
        """Takes in one observation; figures when a window's rate has risen."""
        self.n += 1
        self.events += event
        self.recent.append(event)
        if len(self.recent) > _MOST_REMEMBERED:
            del self.recent[: -WINDOWS[-1]]
        if self.raised_at is not None:
            self._follow(event)
            return None
        for width in WINDOWS:
            if width > min(len(self.recent), self.n - LEAST_BEFORE):
                break
            if self.n % (width // _LOOKS) == 0:
                found = self._look(width)
                if found is not None:
                    return found
        return None

    @property
    def threshold(self) -> float:
        """The likelihood ratio's logarithm that alarms."""
        return math.log(self.budget)

    def standing(self) -> Standing:
        """How the rate since the alarm stands against the one before it."""
        if self.raised_at is None:
            return Standing(False, 0, True)
        since = self.n - self.raised_at
        return Standing(self.run_events > self.baseline * since, since, quiet=False)

    def forget(self) -> None:
        """Takes the level since the alarm as the one to compare with, and may alarm again."""
        since = self.n - (self.raised_at or 0)
        self.n, self.events = since, self.run_events
        self.raised_at, self.run_events = None, 0
        self.recent = self.recent[len(self.recent) - min(since, len(self.recent)) :]

    def _look(self, width: int) -> Observed | None:
        inside = self.recent.count(1, len(self.recent) - width)
        n, events = self.n - width, self.events - inside
        ratio = log_ratio(events, n, inside, width)
        if ratio < self.threshold:
            return None
        if inside * n < events * width:
            self.n, self.events = width, inside
            return None
        self.raised_at, self.run_events = self.n, 0
        self.baseline = events / n
        return Observed(
            statistic=ratio,
            threshold=self.threshold,
            baseline=self.baseline,
            current=inside / width,
            n=self.n,
            minimum_detectable=minimum_rise(self.baseline, self.n, self.threshold),
        )

    def _follow(self, event: bool) -> None:
        """After an alarm: once the rate is back at its old level the scan may alarm again."""
        self.run_events += event
        since = self.n - (self.raised_at or 0)
        if since in WINDOWS and self.run_events <= self.baseline * since:
            self.forget()


def log_ratio(events: int, n: int, more_events: int, more_n: int) -> float:
    """Log-likelihood of two rates less that of one: n·KL(p̂₀‖p̂) + m·KL(p̂₁‖p̂).

    >>> round(log_ratio(10, 100, 5, 50), 2), round(log_ratio(10, 100, 30, 50), 2)
    (0.0, 20.83)
    """
    both = _log_likelihood(events + more_events, n + more_n)
    return max(0.0, _log_likelihood(events, n) + _log_likelihood(more_events, more_n) - both)


def minimum_rise(rate: float, n: int, threshold: float) -> float:
    """The smallest rise that the widest usable window can show, n observations in all.

    >>> round(minimum_rise(0.1, 20_000, math.log(1e6)), 3)
    0.024
    """
    width = max((w for w in WINDOWS if w <= n // 2), default=WINDOWS[0])
    before = max(n - width, 1)
    low, high = 0.0, 1 - rate
    for _ in range(30):
        middle = (low + high) / 2
        risen = round((rate + middle) * width)
        enough = log_ratio(round(rate * before), before, risen, width) >= threshold
        low, high = (low, middle) if enough else (middle, high)
    return high


def _log_likelihood(events: int, n: int) -> float:
    if events <= 0 or events >= n:
        return 0.0
    share = events / n
    return events * math.log(share) + (n - events) * math.log(1 - share)
