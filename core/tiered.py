"""A mapping of which the most recently used part is in memory and the rest on a shelf.

What was changed stays in memory until a checkpoint has put it on the shelf: `begin`, then `pack`
until nothing is left, write what it gave, all at once, then `end`. Changes that come in between
belong to the next checkpoint. Knows no disk, no meaning of its values and no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

Value = TypeVar("Value")
_ABSENT_BYTES = 200


class Shelf(Protocol):
    """Where values lie packed."""

    def get(self, name: str) -> bytes | None:
        """The packed value, None where there is none."""

    def names(self) -> Iterator[str]:
        """All names, in any order."""


@dataclass(frozen=True)
class Form(Generic[Value]):
    """How a value becomes bytes and back, and about how many it takes in memory."""

    pack: Callable[[Value], bytes]
    unpack: Callable[[bytes], Value]
    weigh: Callable[[Value], int]


class Tiered(MutableMapping[str, Value]):
    """Values by name; who changes a value in place sets it again afterwards.

    Args:
        shelf: holds what the last finished checkpoint held.
        form: of the values.
        room_bytes: about how much memory values may take that are on the shelf as they are.
        count: how many names the shelf has.

    >>> form = Form(str.encode, bytes.decode, len)
    >>> names = Tiered(EmptyShelf(), form, room_bytes=0)
    >>> names["ann"] = "bob"
    >>> names.begin(); names.pack(10)
    [('ann', b'bob')]
    >>> names["ann"] = "cy"
    >>> names.end(); names["ann"], names.changed
    ('cy', 1)
    """

    def __init__(self, shelf: Shelf, form: Form[Value], room_bytes: int, count: int = 0) -> None:
        self._shelf = shelf
        self._form = form
        self._room_bytes = room_bytes
        self._count = count
        self._dirty: dict[str, Value | None] = {}  # None: gone
        self._unpacked: dict[str, Value | None] = {}  # as `begin` found them
        self._packed: dict[str, bytes | None] = {}  # on their way to the shelf
        self._clean: OrderedDict[str, Value | None] = OrderedDict()  # None: there is none
        self._weights: dict[str, int] = {}
        self._clean_bytes = 0
        self._ready: list[tuple[str, bytes | None]] = []

    @property
    def changed(self) -> int:
        """How many names the next checkpoint has to write."""
        return len(self._dirty)

    @property
    def held(self) -> int:
        """How many names are in memory."""
        return len(self._dirty) + len(self._unpacked) + len(self._clean)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        newer: dict[str, Any] = {**self._packed, **self._unpacked, **self._dirty}
        yield from (name for name, value in newer.items() if value is not None)
        yield from (name for name in self._shelf.names() if name not in newer)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def get(self, name: str, default: Any = None) -> Any:
        """The value, or the default where there is none."""
        value = self._find(name)
        return default if value is None else value

    def __getitem__(self, name: str) -> Value:
        value = self._find(name)
        if value is None:
            raise KeyError(name)
        return value

    def __setitem__(self, name: str, value: Value) -> None:
        if name not in self._dirty or self._dirty[name] is None:
            self._count += self._find(name) is None
            self._let_go(name)
        self._dirty[name] = value

    def __delitem__(self, name: str) -> None:
        if self._find(name) is None:
            raise KeyError(name)
        self._count -= 1
        self._let_go(name)
        self._dirty[name] = None

    def begin(self) -> None:
        """From now on a checkpoint is under way, of the values as they are now."""
        if self._unpacked or self._packed:
            raise RuntimeError("a checkpoint is under way")
        self._unpacked, self._dirty = self._dirty, {}

    def pack(self, most: int) -> list[tuple[str, bytes | None]]:
        """Some of what the checkpoint has to write, None for names that are gone; [] at the end."""
        for name in list(islice(self._unpacked, most)):
            self._settle(name)
        ready, self._ready = self._ready, []
        return ready

    def end(self) -> None:
        """The checkpoint has been written."""
        if self._unpacked:
            raise RuntimeError("the checkpoint is not packed")
        self._packed = {}

    def _find(self, name: str) -> Value | None:
        if name in self._dirty:
            return self._dirty[name]
        if name in self._unpacked:
            self._settle(name)
        if name in self._clean:
            self._clean.move_to_end(name)
            return self._clean[name]
        data = self._packed[name] if name in self._packed else self._shelf.get(name)
        value = None if data is None else self._form.unpack(data)
        self._hold(name, value)
        self._trim()
        return value

    def _settle(self, name: str) -> None:
        """Packs what the checkpoint under way holds of a name, before it may be changed."""
        value = self._unpacked.pop(name)
        data = None if value is None else self._form.pack(value)
        self._packed[name] = data
        self._ready.append((name, data))
        self._hold(name, value)
        self._trim()

    def _hold(self, name: str, value: Value | None) -> None:
        weight = _ABSENT_BYTES if value is None else self._form.weigh(value)
        self._clean[name] = value
        self._weights[name] = weight
        self._clean_bytes += weight

    def _let_go(self, name: str) -> None:
        if name in self._clean:
            del self._clean[name]
            self._clean_bytes -= self._weights.pop(name)

    def _trim(self) -> None:
        """Leaves what was not used for longest to the shelf; the newest one may always stay."""
        while self._clean_bytes > self._room_bytes and len(self._clean) > 1:
            name, _ = self._clean.popitem(last=False)
            self._clean_bytes -= self._weights.pop(name)


class EmptyShelf:
    """A shelf that holds nothing."""

    def get(self, name: str) -> bytes | None:
        """None, whatever the name."""
        empty: dict[str, bytes] = {}
        return empty.get(name)

    def names(self) -> Iterator[str]:
        """None at all."""
        return iter(())
