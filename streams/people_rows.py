"""What one partition has said about its visitors' ids, as rows of the store."""

import msgspec

from schemas.codec import encode
from schemas.identities import Identity
from streams.store import Changes, Store
from streams.warm import Warm

IDENTITY = "identity"
_MOST_IN_MEMORY = 20_000
_identity = msgspec.json.Decoder(Identity | None).decode


class PeopleRows:
    """The last identity record of each visitor; most visitors have none."""

    def __init__(self, number: int, store: Store) -> None:
        self._number = number
        self._store = store
        self._fresh: dict[str, bytes] = {}
        self._known: Warm[bytes] = Warm(_MOST_IN_MEMORY)

    def said(self, visitor_id: str) -> Identity | None:
        """The last record about this visitor id."""
        value = self._fresh.get(visitor_id) or self._known.get(visitor_id)
        if value is None:
            value = self._store.get((self._number, IDENTITY, visitor_id)) or b"null"
            self._known.put(visitor_id, value)
        found: Identity | None = _identity(value)
        return found

    def say(self, identity: Identity) -> bytes:
        """Remembers a record; its bytes."""
        value = self._fresh[identity.visitor_id] = encode(identity)
        return value

    def checkpoint(self, changes: Changes) -> None:
        """Writes down what was said since the last time."""
        for visitor_id, value in self._fresh.items():
            changes.put((self._number, IDENTITY, visitor_id), value)
            self._known.put(visitor_id, value)
        self._fresh.clear()
        self._known.turn()
