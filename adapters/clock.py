"""Wall time: the one place that reads it for records, so that the core never does."""

import time


def wall_ms() -> int:
    """UTC epoch milliseconds of this machine."""
    return time.time_ns() // 1_000_000
