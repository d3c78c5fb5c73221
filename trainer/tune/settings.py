"""The `[tune]` section of a task file."""

from __future__ import annotations

import msgspec


class TuneSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The budget of a search over hyper-parameters; no trials: none is made."""

    trials: int = 0
    within_s: float = 600.0
    folds: int = 2
