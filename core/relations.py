"""What the shop says goes with, or can stand in for, what: the catalogue's own graph.

It keeps ids, so that an item may be named before it is heard of. It knows no rows, no stock and no
visitors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice
from typing import Any

MOST_RELATIONS = 2_000_000
MOST_OF_ONE = 100

Ids = tuple[str, ...]


class Relations:
    """Relations by the item that named them, and the way back.

    `compatible_with` is meant both ways; `substitute_of` one way: a stand-in names what it stands
    in for. Beyond `most` relations in all, an item's further ones are left out and counted.

    >>> known = Relations()
    >>> known.put("jar", compatible_with=["lid"])
    >>> known.put("tin", substitute_of=["jar"])
    >>> known.accessories("lid"), known.accessories("jar"), known.stand_ins("jar")
    (['jar'], ['lid'], ['tin'])
    >>> known.stand_ins("tin")
    []
    """

    def __init__(self, most: int = MOST_RELATIONS) -> None:
        self.most = most
        self.size = 0
        self.left_out = 0
        self._compatible: dict[str, Ids] = {}
        self._substitute: dict[str, Ids] = {}
        self._compatible_back: dict[str, dict[str, None]] = {}
        self._substitute_back: dict[str, dict[str, None]] = {}

    def put(
        self,
        item_id: str,
        *,
        compatible_with: Sequence[str] = (),
        substitute_of: Sequence[str] = (),
    ) -> None:
        """Replaces what this item names; other items' words about it stay."""
        self._replace(self._compatible, self._compatible_back, item_id, compatible_with)
        self._replace(self._substitute, self._substitute_back, item_id, substitute_of)

    def accessories(self, item_id: str) -> list[str]:
        """What goes with an item: those it names, in its order, then those that name it."""
        named = self._compatible.get(item_id, ())
        return _first(dict.fromkeys(chain(named, self._compatible_back.get(item_id, ()))))

    def stand_ins(self, item_id: str) -> list[str]:
        """What can stand in for an item, in the order in which that was said."""
        return _first(self._substitute_back.get(item_id, ()))

    def to_dict(self) -> dict[str, Any]:
        """What each item named, as plain values."""
        return {"compatible": self._compatible, "substitute": self._substitute}

    @classmethod
    def from_dict(cls, saved: dict[str, Any], most: int = MOST_RELATIONS) -> Relations:
        """The relations that `to_dict` described."""
        relations = cls(most)
        compatible, substitute = saved.get("compatible", {}), saved.get("substitute", {})
        for item_id in dict.fromkeys([*compatible, *substitute]):
            relations.put(
                item_id,
                compatible_with=compatible.get(item_id, ()),
                substitute_of=substitute.get(item_id, ()),
            )
        return relations

    def _replace(
        self,
        there: dict[str, Ids],
        back: dict[str, dict[str, None]],
        item_id: str,
        named: Sequence[str],
    ) -> None:
        wanted = tuple(dict.fromkeys(name for name in named if name != item_id))
        former = there.get(item_id, ())
        if wanted == former:
            return
        for name in there.pop(item_id, ()):
            del back[name][item_id]
            if not back[name]:
                del back[name]
        self.size -= len(former)
        kept = wanted[: max(self.most - self.size, 0)]
        self.left_out += len(wanted) - len(kept)
        if kept:
            there[item_id] = kept
            self.size += len(kept)
        for name in kept:
            back.setdefault(name, {})[item_id] = None


def _first(names: Iterable[str]) -> list[str]:
    return list(islice(names, MOST_OF_ONE))
