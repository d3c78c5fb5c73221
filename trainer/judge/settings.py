"""The `[gate]` section of a task file."""

from __future__ import annotations

import msgspec


class GateSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate must hold to; a margin is how much it may seem to lose.

    Margins are shares of right answers, or standard deviations of the training values for a
    number. `largest_gap` bounds the difference in error between the worst and the best served slice
    and `largest_group_error` the error of the worst; without them no such limit is set.
    `largest_leak` is the share of test texts that may also stand in the training part.
    """

    margin: float = 0.01
    slice_margin: float = 0.05
    slowest_ms: float = 50.0
    largest_bytes: int = 200_000_000
    largest_gap: float | None = None
    largest_group_error: float | None = None
    largest_calibration_error: float = 0.1
    largest_leak: float = 0.01
