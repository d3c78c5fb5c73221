"""Removes histories that were left untouched for too long, some at a time.

They are no longer known from the moment on when they are outdated; this gives their room back.
"""

from core.history_packing import newest_ms
from core.shop_state import ShopState
from serving.state_store import StoreShelf

SWEPT_AT_ONCE = 2_000


class Outdated:
    """Walks round and round through the histories of one store."""

    def __init__(self, shelf: StoreShelf) -> None:
        self._shelf = shelf
        self._after = ""

    def find(self, state: ShopState) -> list[str]:
        """The next names whose histories look outdated on disk."""
        if not state.history_ms:
            return []
        found = []
        oldest = state.seen_ms - state.history_ms
        name = ""
        for number, (name, data) in enumerate(self._shelf.items(self._after), start=1):
            if newest_ms(data) < oldest:
                found.append(name)
            if number == SWEPT_AT_ONCE:
                break
        else:
            name = ""
        self._after = name
        return found

    def remove(self, state: ShopState, names: list[str]) -> None:
        """Removes those of them that are outdated; the caller holds the lock."""
        for name in names:
            visitor = state.visitors.get(name)
            if visitor is not None and state.is_outdated(visitor):
                del state.visitors[name]
