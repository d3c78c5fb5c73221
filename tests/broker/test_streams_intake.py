"""Intake in a real worker: pseudonyms that meet their answers, a new key, one order per number."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Message
from streams_factory import HOUR_MS, START_MS, Shop, Worker, answer, purchase

from adapters.pepper import load_pepper
from core.masking import masked, place_of
from core.pseudonyms import Pepper
from core.settings import Settings
from schemas import topics
from schemas.codec import encode
from schemas.events import Consent, Searched, ShopEvent
from schemas.identities import Identity
from schemas.predictions import RecommendRequest

K1, K2 = "k1:" + "01" * 32 + "\n", "k2:" + "02" * 32 + "\n"
READ = (topics.OUTCOMES, topics.EVENTS_VALID, topics.IDENTITIES, topics.PROGRESS)
SHOPPERS = ("ann", "bob", "cid", "dan", "eve", "fay")


@pytest.fixture
def settings(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Settings:
    pepper = tmp_path / "pepper"
    pepper.touch(0o600)
    pepper.write_text(K1)
    return Settings(
        kafka=kafka_address,
        topic_prefix=unique_prefix,
        home=str(tmp_path),
        pepper_file=str(pepper),
    )


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    shop = Shop(settings, READ)
    yield shop
    shop.close()


def ask(shop: Shop, shopper: str, pepper: Pepper, at_ms: int) -> str:
    """An answer as serving logs it."""
    request = masked(RecommendRequest(request_id="r-" + shopper, visitor_id=shopper), pepper)
    logged = answer(f"p-{shopper}-loop", request.visitor_id, at_ms)
    partition = place_of(shopper, pepper)
    assert partition is not None
    shop.send(topics.PREDICTIONS, request.visitor_id, encode(logged), partition)
    return logged.prediction_id


def tell(shop: Shop, event: ShopEvent) -> None:
    shop.send(topics.EVENTS, event.visitor_id, encode(event))


def pepper_of(settings: Settings) -> Pepper:
    pepper = load_pepper(settings)
    assert pepper is not None
    return pepper


def finals(shop: Shop) -> dict[str, list[str]]:
    return {each.prediction_id: each.basket for each in shop.outcomes() if each.age == "final"}


def identities(shop: Shop) -> list[Identity]:
    decode = msgspec.json.Decoder(Identity).decode
    return [decode(message.value() or b"") for message in shop.messages["identities"]]


def names_nobody(message: Message) -> bool:
    written = (message.key() or b"") + (message.value() or b"")
    return not any(f'"{name}"'.encode() in written for name in SHOPPERS)


def test_pseudonyms_meet_their_answers_and_keep_their_history_under_a_new_key(
    settings: Settings, shop: Shop
) -> None:
    before = pepper_of(settings)
    shop.barrier(0, START_MS)
    for shopper in SHOPPERS:
        ask(shop, shopper, before, START_MS + 1_000)
        search = Searched(
            event_id="s-" + shopper,
            event_time_ms=START_MS + 2_000,
            visitor_id=shopper,
            user_id="u-" + shopper,
            query=f"gift for {shopper}@example.com",
            ip="192.0.2.77",
            consent=Consent(training=False),
        )
        tell(shop, search)
    shop.barrier(1, START_MS + HOUR_MS)
    with Worker(settings, "visitors") as worker:
        shop.read_until(lambda: len(identities(shop)) == len(SHOPPERS))
        assert worker.stop() == 0
    Path(settings.pepper_file).write_text(K1 + K2)
    for shopper in SHOPPERS:
        for name in ("o1-", "o2-"):
            order = purchase(name + shopper, shopper, START_MS + HOUR_MS + 1_000, None)
            tell(shop, msgspec.structs.replace(order, transaction_id="t-" + shopper))
    shop.barrier(2, START_MS + 60 * HOUR_MS, final=True)
    with Worker(settings, "visitors") as worker:
        shop.read_until(lambda: len(finals(shop)) == len(SHOPPERS))
        assert worker.stop() == 0

    assert finals(shop) == {f"p-{shopper}-loop": ["a", "x"] for shopper in SHOPPERS}
    login, rekeyed = identities(shop)[: len(SHOPPERS)], identities(shop)[len(SHOPPERS) :]
    assert {each.reason for each in login} == {"login"}
    assert {each.reason for each in rekeyed} == {"rekeyed"}
    after = pepper_of(settings)
    assert {(each.previous_ids[0], each.visitor_id) for each in rekeyed} == {
        (before.pseudonym("visitor", name), after.pseudonym("visitor", name)) for name in SHOPPERS
    }
    valid = [each for each in shop.messages["events.valid"] if each.key() is not None]
    assert len(valid) == 2 * len(SHOPPERS)  # a search and the first of two like orders
    for message in (*valid, *shop.messages["outcomes"], *shop.messages["identities"]):
        assert names_nobody(message)
        assert b"example.com" not in (message.value() or b"")
        assert b"192.0.2.77" not in (message.value() or b"")
    placed = {message.key(): message.partition() for message in valid}
    for message in shop.messages["identities"]:
        assert placed[message.key()] == message.partition()
    for name in SHOPPERS:
        assert placed[after.pseudonym("visitor", name).encode()] == place_of(name, after)


def test_a_pepper_that_others_may_read_stops_the_worker(settings: Settings) -> None:
    Path(settings.pepper_file).chmod(0o644)
    with Worker(settings, "visitors") as worker:
        assert worker.wait() == 2
