"""Which loaded versions must go so that another fits into memory, and how much a version takes.

It knows names, sizes and whether a role needs them; nothing of files, sessions or engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from core.model_version import GRAPH, ITEM_VECTORS, VOCABULARY
from schemas.models import FileDigest

_TABLE_TIMES = 2.4
"""A session holds the item table to look items up, and a packed copy to score them by. Measured
with 100,000 items, ONNX Runtime 1.32: 61 MB resident for item vectors of 26 MB, and 85 MB for an
older graph of 52 MB that holds its table twice."""

_VOCABULARY_TIMES = 15.0
"""Item ids as strings, a table from id to column and the columns by catalogue row."""


class Claim(IntEnum):
    """Why a version stays loaded, weakest first."""

    NONE = 0
    GIVES_WAY = 1
    STAYS = 2


@dataclass(frozen=True)
class Held:
    """A loaded version, its resident size and its claim."""

    name: str
    size_bytes: int
    claim: Claim


def memory_bytes(files: Iterable[FileDigest]) -> int:
    """About how much memory a version takes once it is loaded, by the sizes of its files.

    The table is in the larger one of graph and item vectors.

    >>> memory_bytes([FileDigest(path=ITEM_VECTORS, sha256="", size_bytes=1_000)])
    2400
    """
    sizes = {file.path: file.size_bytes for file in files}
    table = max(sizes.get(GRAPH, 0), sizes.get(ITEM_VECTORS, 0))
    return round(_TABLE_TIMES * table + _VOCABULARY_TIMES * sizes.get(VOCABULARY, 0))


def make_room(held: Sequence[Held], size_bytes: int, budget_bytes: int) -> list[str] | None:
    """The versions to let go so that one of this size fits; None when it cannot fit.

    Those without a claim go first, least recently used first, as `held` is ordered; then those that
    give way. No more go than must.

    >>> held = [Held("old", 4, Claim.NONE), Held("canary", 4, Claim.GIVES_WAY)]
    >>> make_room(held, 4, 12), make_room(held, 8, 12), make_room(held, 12, 12)
    ([], ['old'], ['old', 'canary'])
    >>> make_room([Held("champion", 4, Claim.STAYS)], 9, 12) is None
    True
    """
    free = budget_bytes - sum(each.size_bytes for each in held)
    gone: list[str] = []
    for each in sorted(held, key=lambda one: one.claim):
        if free >= size_bytes or each.claim is Claim.STAYS:
            break
        gone.append(each.name)
        free += each.size_bytes
    return gone if free >= size_bytes else None
