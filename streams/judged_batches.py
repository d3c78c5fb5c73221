"""Judged lists and baskets of one step, gathered into few records of the topic `slots`."""

from collections.abc import Iterator

MOST_BYTES = 400_000
"""Well below the largest record a reader takes, whatever one list adds."""
_HEAD, _TAIL = b'{"kind":"batch","entries":[', b"]}"


class JudgedBatches:
    """Encoded entries by the input partition that brought them about, in order."""

    def __init__(self) -> None:
        self._entries: dict[int, list[bytes]] = {}
        self._bytes: dict[int, int] = {}

    def add(self, source: int, entry: bytes) -> bytes | None:
        """Takes in one encoded entry; returns the record of those so far when they are enough.

        >>> batches = JudgedBatches()
        >>> batches.add(0, b'{"a":1}'), batches.add(0, b'{"a":2}')
        (None, None)
        >>> list(batches.rest())
        [(0, b'{"kind":"batch","entries":[{"a":1},{"a":2}]}')]
        """
        self._entries.setdefault(source, []).append(entry)
        size = self._bytes[source] = self._bytes.get(source, 0) + len(entry)
        return self._record(source) if size >= MOST_BYTES else None

    def rest(self) -> Iterator[tuple[int, bytes]]:
        """(source, record) of what is left."""
        for source in sorted(self._entries):
            yield source, self._record(source)

    def rest_of(self, source: int) -> bytes | None:
        """The record of what is left of one partition."""
        return self._record(source) if source in self._entries else None

    def _record(self, source: int) -> bytes:
        del self._bytes[source]
        return _HEAD + b",".join(self._entries.pop(source)) + _TAIL
