"""The `[compress]` section of a task file."""

from __future__ import annotations

import msgspec


class CompressSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which smaller versions are made beside the whole one, and how much each may lose."""

    int8: bool = True
    prune: tuple[float, ...] = ()
    distill: bool = False
    largest_loss: float = 0.01
