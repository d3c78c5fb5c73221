"""What a stage keeps in memory of much more that lies in its store: the most recently used."""

from typing import Generic, TypeVar

Value = TypeVar("Value")


class Warm(Generic[Value]):
    """Values by key in two generations; `turn` lets those go that a whole generation left alone.

    Args:
        most: about how many values are kept; the rest has to be read from the store again.
    """

    def __init__(self, most: int) -> None:
        self._half = max(most // 2, 1)
        self._young: dict[str, Value] = {}
        self._old: dict[str, Value] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: str) -> Value | None:
        """The value, if it is in memory.

        >>> warm = Warm[int](2)
        >>> warm.put("a", 1)
        >>> warm.turn(); warm.put("b", 2); warm.turn()
        >>> warm.get("a"), warm.get("b")
        (None, 2)
        """
        value = self._young.get(key)
        if value is None and self._old:
            value = self._old.pop(key, None)
            if value is not None:
                self._young[key] = value
        return value

    def put(self, key: str, value: Value) -> None:
        """Keeps a value."""
        self._young[key] = value

    def drop(self, key: str) -> None:
        """Lets a value go."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def turn(self) -> None:
        """Begins a generation when this one is full; what is in neither is in the store alone."""
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
