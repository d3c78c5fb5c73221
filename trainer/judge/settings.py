"""The `[gate]` section of a task file."""

from __future__ import annotations

import msgspec


class GateSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a candidate must hold to; a margin is how much it may seem to lose."""

    margin: float = 0.01
    slice_margin: float = 0.05
    slowest_ms: float = 50.0
    largest_bytes: int = 200_000_000
