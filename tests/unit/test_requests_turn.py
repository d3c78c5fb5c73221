"""Questions that were read a moment before the turn went to another process."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from core.settings import Settings
from serving.desk import Desk
from serving.metrics import Metrics
from serving.requests import RequestLoop


def test_a_question_read_before_the_turn_ended_is_left_to_whose_turn_is_next(
    tmp_path: Path,
) -> None:
    unused: Any = None
    live: Any = SimpleNamespace(merge=SimpleNamespace(in_replay=False))
    settings = Settings(home=str(tmp_path), kafka="127.0.0.1:9")
    desk = Desk(settings, "serving-1", live, unused, words={})
    loop = RequestLoop(settings, "serving-1", desk, Metrics())
    turns: Any = loop._turns
    turns.consumer.close()
    joined: list[str] = []

    def consume(*_: Any, **__: Any) -> list[Any]:
        turns._revoked(None, [])
        return [question]

    question: Any = SimpleNamespace(error=lambda: None)
    turns.consumer = SimpleNamespace(poll=lambda _: question, consume=consume)
    turns.begin_anew = lambda: joined.append("anew")
    assert loop._read(0.0) == []
    assert joined == ["anew"]
    turns.consumer.consume = lambda *_, **__: [question]
    assert loop._read(0.0) == [question, question]
