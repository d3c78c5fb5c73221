"""Wall time: the one place that reads it for records, so that the core never does."""

import time

BREATH_S = 0.001


def wall_ms() -> int:
    """UTC epoch milliseconds of this machine."""
    return time.time_ns() // 1_000_000


def breathe() -> None:
    """Leaves the core to others for about a millisecond."""
    time.sleep(BREATH_S)
