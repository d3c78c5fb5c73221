"""Two serving processes that divide the visitors, and a third that takes over."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace
from serving_factory import (
    Process,
    Served,
    Shop,
    answers_of,
    progress_of,
    reading,
    running,
    wall_ms,
)

from core.murmur2 import partition_of
from core.partition_share import share_of
from core.settings import Settings
from schemas import topics
from schemas.errors import BadSettings
from schemas.events import EventWatermark
from schemas.ids import new_id
from schemas.watermarks import Progress
from serving import turns
from serving.past import Reach

VISITORS = [f"v{number}" for number in range(12)]


def test_each_visitor_is_known_to_one_process_and_answered_once(
    kafka_address: str, unique_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path)))
    shop.stock()
    for visitor in VISITORS:
        shop.buy(visitor, "a", at_ms=wall_ms() - 1_000)
    shop.flush()
    with answers_of(shop.settings) as answers:
        with _share(shop, "zero", 0) as zero, _share(shop, "one", 1) as one:
            _ask_all(shop, answers, {0: "zero", 1: "one"})
            _each_knows_its_own([zero, one])
            _barriers_of_its_partitions_are_enough(shop)
            monkeypatch.setattr(turns, "GONE_WITHIN_S", 0.0)
            _no_rival_comes_in(shop)
            with _share(shop, "one-too", 1) as heir:
                assert one.stop() == 0
                _ask_all(shop, answers, {0: "zero", 1: "one-too"})
                _each_knows_its_own([zero, heir])
                assert (zero.stop(), heir.stop()) == (0, 0)
        with running(shop.settings, "--name", "both"):
            _ask_all(shop, answers, {0: "both", 1: "both"})
        assert set(Counter(map(len, answers.served().values()))) == {1}


def _share(shop: Shop, name: str, number: int) -> AbstractContextManager[Process]:
    return running(shop.settings, "--name", name, extra={"SHOPLOOP_SERVED_PARTITIONS": str(number)})


def _barriers_of_its_partitions_are_enough(shop: Shop) -> None:
    """A replay's barriers come to partition 1 alone: its process passes them, the other waits."""
    with reading(shop.settings, topics.PROGRESS) as progress:
        for number in (1, 2):
            mark = EventWatermark(
                event_time_ms=wall_ms(), barrier=number, run_id="run", final=number == 2
            )
            shop.write(topics.EVENTS_VALID, "", mark, 1)
            shop.flush()
            progress.until(lambda seen, number=number: number in _barriers(seen, "one"))  # type: ignore[misc]
        assert _barriers(progress.records, "zero") == {-1}
        shop.write(topics.EVENTS_VALID, "", mark, 0)
        shop.flush()
        progress.until(lambda seen: 2 in _barriers(seen, "zero"))


def _barriers(seen: list[Progress], process: str) -> set[int]:
    return {each.barrier for each in progress_of(process)(seen)}


def _no_rival_comes_in(shop: Shop) -> None:
    late = turns.Turns(shop.settings, share_of(""))
    with pytest.raises(BadSettings, match=r"serving\.share\.0, .*serving\.share\.1 answer some"):
        late.begin(lambda *_: None, lambda: False)
    late.close()
    one, all_of_it = Reach(replace(shop.settings, served_partitions="1")), Reach(shop.settings)
    assert (list(one.ranges), list(all_of_it.ranges)) == ([1], [0, 1])
    assert one.source != all_of_it.source


def _ask_all(shop: Shop, answers: Served, served_by: dict[int, str]) -> None:
    """Asks for every visitor over Kafka: who was to answer did, with the visitor's history."""
    asked = {shop.ask(visitor): visitor for visitor in VISITORS}
    shop.flush()
    for name, answer in answers.answers(list(asked)).items():
        assert answer.served_by == served_by[partition_of(asked[name], 2)]
        assert answer.context.history == ["a"]


def _each_knows_its_own(replicas: list[Process]) -> None:
    for number, replica in enumerate(replicas):
        for visitor in VISITORS:
            question = {"visitor_id": visitor, "request_id": new_id()}
            reply = httpx.post(f"{replica.url}/v1/recommend", json=question)
            at = partition_of(visitor, 2)
            assert reply.status_code == (200 if at == number else 421), reply.text
            if at != number:
                assert reply.json()["type"] == "urn:shoploop:problem:misdirected"
                assert f"partition {at}" in reply.json()["detail"]
