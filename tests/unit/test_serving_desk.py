"""The desk heeds its circuits: who fails is left alone, and every answer says why."""

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from version_factory import ITEMS, Version

from adapters.artefacts import ArtefactStore
from adapters.onnx import LoadedVersion, load_version
from core.degrading import MODEL_FAILED
from core.features import feature_schema_hash
from core.settings import Settings
from core.shop_state import ShopState
from schemas.errors import InvalidEvent
from schemas.predictions import RecommendRequest, RequestRecord, SearchRequest
from serving.desk import Desk
from serving.engine import Engine
from serving.remembering import RememberingState


class _Broken:
    """A graph that no longer computes."""

    asked = 0

    def logits(self, tokens: object) -> object:
        self.asked += 1
        raise ValueError("it broke")


@dataclass
class _Live:
    """As much of a live state as a desk looks at."""

    engine: Engine
    state: ShopState = field(default_factory=RememberingState)
    lock: Any = field(default_factory=threading.Lock)
    weights_at_ms: int = 0
    lag_s: float = 0.0
    in_replay: bool = False

    @property
    def versions(self) -> "_Live":
        return self

    merge = staleness = versions


@pytest.fixture
def champion(tmp_path: Path) -> LoadedVersion:
    version = Version()
    store = ArtefactStore(tmp_path.as_uri())
    name = version.put(store)
    return load_version(store, "recommend", name, version.key.public_key(), feature_schema_hash())


def _desk(engine: Engine) -> tuple[Desk, _Live]:
    live = _Live(engine)
    for item in ITEMS:
        live.state.put_item(item, f"Item {item}", 2.5, 1_000)
    untyped: Any = live
    return Desk(Settings(), "serving-1", untyped, untyped), live


def _degraded(desk: Desk, count: int) -> list[str | None]:
    found = []
    for number in range(count):
        asked: list[RequestRecord] = [
            RecommendRequest(request_id=f"r{number}", visitor_id="v", k=3)
        ]
        found += [given.degraded for given in desk.answer(asked, 0.0)]
    return found


def test_failing_champion_is_no_longer_asked(champion: LoadedVersion) -> None:
    graph: Any = _Broken()
    desk, _ = _desk(Engine(champion=replace(champion, graph=graph)))
    assert _degraded(desk, 8) == [MODEL_FAILED] * 8
    assert graph.asked == 3


def test_stale_state_is_said_until_it_has_caught_up(champion: LoadedVersion) -> None:
    desk, live = _desk(Engine(champion=champion))
    assert _degraded(desk, 1) == [None]
    now_ms = [desk.breakers._clock() + 10_000]
    desk.breakers._clock = lambda: now_ms[0]
    live.lag_s = 61.0
    found = []
    for _ in range(4):
        now_ms[0] += 1_000
        found += _degraded(desk, 1)
    assert found == [None, None, "stale_state", "stale_state"]


def test_desk_refuses_what_nobody_here_answers() -> None:
    desk, _ = _desk(Engine())
    request = SearchRequest(request_id="r", visitor_id="v", query="mug")
    with pytest.raises(InvalidEvent) as refused:
        desk.checked(request)
    assert refused.value.reason == "unknown_task"


def test_a_question_of_another_time_is_refused_in_live_time_whoever_brings_it() -> None:
    desk, live = _desk(Engine())
    asked = RecommendRequest(request_id="r", visitor_id="v", as_of_ms=4_000_000_000_000)
    with pytest.raises(InvalidEvent, match="in replay only"):
        desk.checked(asked)
    live.in_replay = True
    assert desk.checked(asked) is asked
