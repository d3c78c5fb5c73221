"""The `[search]` section of a task file."""

from __future__ import annotations

import msgspec


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How queries and products are matched; read by tasks of kind `search` alone."""

    rerank: int = 100
    hard_negatives: int = 4
