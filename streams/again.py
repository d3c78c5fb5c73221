"""The journal's batches stepped again: each with the records it had, when all have come again.

Knows no Kafka: records, how far places were read, and which have nothing more to give.
"""

from collections import deque
from collections.abc import Mapping, Sequence, Set
from typing import Generic, TypeVar

import msgspec

from streams.stage import Record
from streams.store import Entry, Place

Kept = TypeVar("Kept", bound=Record)
_NEVER = 1 << 62


class Again(Generic[Kept]):
    """The batches since the last checkpoint, oldest first, and the records held for them."""

    def __init__(self, journal: Sequence[Entry] = (), places: Set[Place] = frozenset()) -> None:
        self._entries = deque(_of_places(entry, places) for entry in journal)
        self.held: list[Kept] = []

    def __bool__(self) -> bool:
        return bool(self._entries)

    def reached(self, offsets: Mapping[Place, int]) -> dict[Place, int]:
        """How far these places will have been read at the journal's end."""
        until = dict(offsets)
        for entry in self._entries:
            until |= until_of(entry)
        return until

    def next(
        self, offsets: Mapping[Place, int], ended: Set[Place]
    ) -> tuple[Entry, list[Kept]] | None:
        """The next batch and its records; None while some of them have still to come.

        Args:
            offsets: how far each place was read by the batches before.
            ended: places that have no more records for now.
        """
        entry = self._entries[0]
        until = until_of(entry)
        missing = {place for place, at in until.items() if offsets.get(place, 0) < at} - ended
        for record in self.held:
            if missing and record.offset() + 1 >= until.get(place_of(record), _NEVER):
                missing.discard(place_of(record))
        if missing:
            return None
        self._entries.popleft()
        ours = [each for each in self.held if each.offset() < until.get(place_of(each), 0)]
        self.held = [each for each in self.held if each.offset() >= until.get(place_of(each), 0)]
        return entry, ours


def until_of(entry: Entry) -> dict[Place, int]:
    """How far a batch read each of its places."""
    return {(topic, number): at for topic, number, at in entry.until}


def place_of(record: Record) -> Place:
    """Where a record lies."""
    return record.topic(), record.partition()


def _of_places(entry: Entry, places: Set[Place]) -> Entry:
    until = [each for each in entry.until if (each[0], each[1]) in places]
    return msgspec.structs.replace(entry, until=until)
