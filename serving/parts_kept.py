"""The parts of a state that are neither shoppers nor co-occurrence, as rows of its store.

What has not changed since the last checkpoint is not written again.
"""

import hashlib
from typing import Any

import numpy as np

from core.array_packing import pack, unpack
from core.shop_state import ShopState
from core.state_parts import parts_of
from serving.memory_rows import Row, Rows

_PART = b"part/"
_NESTED = ("catalogue", "relations", "buckets")
_SOLD = ("first_ms", "last_ms", "buyers", "rebuys")
"""What of the catalogue changes with every purchase; the rest, with what the shop says."""

_SEPARATOR = "\t"
Parts = dict[str, Any]


class PartsKept:
    """The rows of one store."""

    def __init__(self, store: Rows) -> None:
        self._store = store
        self._taken: Parts = {}
        self._digests: dict[str, bytes] = {}
        self._days: dict[str, int] = {}
        self._said = -1, -1

    def take(self, state: ShopState) -> None:
        """Copies what may have changed since the last time; the caller holds the lock."""
        parts, catalogue = parts_of(state), state.catalogue
        flat = {name: value for name, value in parts.items() if name not in _NESTED}
        said = catalogue.version, len(catalogue)
        names = _SOLD if said == self._said else parts["catalogue"]
        flat |= {_name("catalogue", name): parts["catalogue"][name] for name in names}
        if said != self._said:
            flat |= {_name("relations", name): of for name, of in parts["relations"].items()}
        self._days = {_name("buckets", str(day)): day for day in parts["buckets"]}
        changed, state.popularity.changed = state.popularity.changed, set()
        for name, day in self._days.items():
            if day in changed or name not in self._digests:
                flat[name] = parts["buckets"][day]
        self._taken = {name: _copy(value) for name, value in flat.items()}
        self._said = said

    def rows(self) -> list[Row]:
        """What of the copies is not in the store yet, and what has to go."""
        rows: list[Row] = []
        for name, value in self._taken.items():
            data = pack(value)
            digest = _digest(data)
            if self._digests.get(name) != digest:
                self._digests[name] = digest
                rows.append((_PART + name.encode(), data))
        old = _name("buckets", "")
        for name in [n for n in self._digests if n.startswith(old) and n not in self._days]:
            del self._digests[name]
            rows.append((_PART + name.encode(), None))
        self._taken = {}
        return rows

    def load(self) -> Parts:
        """The parts that the store holds."""
        parts: Parts = {"catalogue": {}, "relations": {}, "buckets": {}}
        for key, data in self._store.under(_PART):
            name = key[len(_PART) :].decode()
            self._digests[name] = _digest(data)
            part, _, inner = name.partition(_SEPARATOR)
            if not inner:
                parts[part] = unpack(data)
            else:
                parts[part][int(inner) if part == "buckets" else inner] = unpack(data)
        return parts


def _name(part: str, inner: str) -> str:
    return part + _SEPARATOR + inner


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _copy(value: Any) -> Any:
    """A copy of a part: arrays and what holds them; what lies deeper is replaced, never changed."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {n: v.copy() if isinstance(v, np.ndarray) else v for n, v in value.items()}
    return list(value) if isinstance(value, list) else value
