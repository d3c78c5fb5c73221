"""What the decider makes of an operator's order is told at the terminal."""

from __future__ import annotations

from typing import Any

from console.models import history_text, said_to
from schemas.codec import encode
from schemas.models import ModelLog, Order

ORDER = Order(command_id="c", task="recommend", action="rollback", event_time_ms=1, by="ann")


class Message:
    def __init__(self, record: ModelLog) -> None:
        self._bytes = encode(record)

    def value(self) -> bytes:
        return self._bytes


class Reader:
    """Gives one batch a poll, then nothing."""

    def __init__(self, *batches: list[ModelLog]) -> None:
        self.batches = list(batches)

    def poll(self, timeout_s: float) -> list[tuple[str, Any]]:
        batch = self.batches.pop(0) if self.batches else []
        return [("model_log", Message(each)) for each in batch]


def entry(kind: Any, reason: str, task: str = "recommend") -> ModelLog:
    return ModelLog(
        log_id="l", task=task, model_version="v1", kind=kind, event_time_ms=0, reason=reason
    )


def test_what_was_decided_about_an_order_is_shown_and_nothing_else() -> None:
    done = entry("rolled_back", "ordered by ann: returns up; back to v0, pinned")
    pinned = entry("pinned", "ordered by ann: returns up")
    other = entry("promoted", "ordered by bob"), entry("pinned", "ordered by ann", task="search")
    reader: Any = Reader([], [*other, done], [pinned], [], [done])
    found = said_to(ORDER, reader, 600.0)
    assert found == [done, pinned]
    assert history_text(found).splitlines()[1:] == [
        "1970-01-01 00:00  v1       rolled_back  ordered by ann: returns up; back to v0, pinned",
        "1970-01-01 00:00  v1       pinned       ordered by ann: returns up",
    ]


def test_without_a_decider_nothing_is_told() -> None:
    reader: Any = Reader()
    assert said_to(ORDER, reader, 0.01) == []
    assert history_text([]) == ""
