"""Which visitors a serving process answers, where several processes divide them among themselves.

A visitor belongs to the partition in which the shop's records of this visitor lie. Knows no
process and no topic.
"""

from __future__ import annotations

from typing import NamedTuple

from core.murmur2 import partition_of
from schemas.errors import BadSettings, InvalidEvent
from schemas.topics import VISITOR_PARTITIONS


class Share(NamedTuple):
    """Some of the partitions by visitor, in order, out of so many."""

    partitions: tuple[int, ...]
    of: int = VISITOR_PARTITIONS

    @property
    def is_whole(self) -> bool:
        """Whether every visitor belongs to it."""
        return len(self.partitions) == self.of

    @property
    def name(self) -> str:
        """The share as a part of names: equal shares have equal names.

        >>> Share((0, 2), 4).name
        '0-2'
        """
        return "-".join(map(str, self.partitions))

    def check(self, visitor_id: str) -> None:
        """Returns for a visitor of this share, by the id that the shop uses.

        Raises:
            InvalidEvent: `misdirected`; the message names the visitor's partition, not the visitor.
        """
        if self.is_whole:
            return
        at = partition_of(visitor_id, self.of)
        if at not in self.partitions:
            here = ", ".join(map(str, self.partitions))
            raise InvalidEvent(
                "misdirected", f"the visitor belongs to partition {at}; served here: {here}"
            )


def share_of(text: str, of: int = VISITOR_PARTITIONS) -> Share:
    """The share that SHOPLOOP_SERVED_PARTITIONS names; every partition when it is empty.

    >>> share_of("1, 0"), share_of("").is_whole, share_of("1").partitions
    (Share(partitions=(0, 1), of=2), True, (1,))

    Raises:
        BadSettings: it names no partition, or one that is none.
    """
    if not text.strip():
        return Share(tuple(range(of)), of)
    known = {str(number): number for number in range(of)}
    parts = [part.strip() for part in text.split(",")]
    wrong = [part for part in parts if part not in known]
    if wrong:
        raise BadSettings(
            f"SHOPLOOP_SERVED_PARTITIONS={text!r}: {wrong[0]!r} is no partition, "
            f"expected numbers from 0 to {of - 1} by commas, or nothing for all"
        )
    return Share(tuple(sorted({known[part] for part in parts})), of)
