"""Two serving processes that divide the visitors, and a third that takes over."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from serving_factory import Process, Served, Shop, answers_of, running, wall_ms

from core.murmur2 import partition_of
from core.partition_share import share_of
from core.settings import Settings
from schemas.errors import BadSettings
from schemas.ids import new_id
from serving import turns

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


def _no_rival_comes_in(shop: Shop) -> None:
    late = turns.Turns(shop.settings, share_of(""))
    with pytest.raises(BadSettings, match=r"serving\.share\.0, .*serving\.share\.1 answer some"):
        late.begin(lambda *_: None, lambda: False)
    late.close()


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
