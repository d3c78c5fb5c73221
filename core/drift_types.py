"""What a detector says: an alarm's evidence, and how it stands since."""

import msgspec

from schemas.metrics import DriftKind


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """The figures at the moment of an alarm; effect is current less baseline."""

    statistic: float
    threshold: float
    baseline: float
    current: float
    n: int
    minimum_detectable: float

    @property
    def effect(self) -> float:
        """How much worse than the baseline the current estimate is."""
        return self.current - self.baseline


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm of one detector on one surface."""

    surface: str
    detector: str
    kind: DriftKind
    model_version: str
    event_time_ms: int
    observed: Observed


class Standing(msgspec.Struct, frozen=True):
    """After an alarm: still over the threshold, observations since, and whether it went quiet."""

    over: bool
    since: int
    quiet: bool


def standing_since(over: bool, n: int, raised_at: int | None) -> Standing:
    """How a chart stands that alarmed at its observation `raised_at`, if it did, of `n` now.

    >>> standing_since(True, 12, 10)
    Standing(over=True, since=2, quiet=False)
    """
    return Standing(over, 0 if raised_at is None else n - raised_at, raised_at is None)
