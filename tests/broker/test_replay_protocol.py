"""A replay over a real broker: the order of the protocol and what it counts."""

import io

import pytest
from echo_loop import EchoLoop
from rich.console import Console

from adapters import kafka
from core.replay_plan import Broken, Happened, LeftOut, Offered
from core.settings import Settings
from local.live_view import LiveView
from local.replay import Plan, Replay
from local.replay_view import PlainView
from schemas import topics
from schemas.errors import BadSettings, Unavailable
from schemas.events import EventItem, EventWatermark, ItemListViewed, PurchaseMade
from schemas.items import Item
from schemas.predictions import RecommendRequest

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NEEDED = (
    topics.EVENTS,
    topics.ITEMS,
    topics.REQUESTS,
    topics.PREDICTIONS,
    topics.COMMANDS,
    topics.PROGRESS,
    topics.RETRAIN,
    topics.MODEL_LOG,
)


@pytest.fixture
def settings(kafka_address, unique_prefix):
    made = Settings(kafka=kafka_address, topic_prefix=unique_prefix)
    kafka.ensure_topics(made, NEEDED)
    return made


def purchase(number, visitor, at_ms, *item_ids):
    event = PurchaseMade(
        event_id=f"e{number}",
        event_time_ms=at_ms,
        visitor_id=visitor,
        session_id=f"s{number}",
        transaction_id=f"t{number}",
        items=[
            EventItem(item_id=item_id, source_id=f"f:{number}.{item_id}") for item_id in item_ids
        ],
    )
    return Happened(at_ms, event)


def replayed(settings, entries, view=None):
    plan = Plan(train_until_ms=10 * DAY_MS, from_ms=10 * DAY_MS, to_ms=100 * DAY_MS)
    replay = Replay(settings, plan, view or PlainView(lambda _: None))
    try:
        replay.run(entries)
    finally:
        replay.close()
    return replay


HISTORY = [
    Offered(DAY_MS, Item(item_id="a", updated_at_ms=DAY_MS)),
    purchase(1, "v", DAY_MS, "a"),
    LeftOut(DAY_MS, "not_a_product", 2),
    purchase(2, "v", 11 * DAY_MS, "a", "b"),
    Broken(11 * DAY_MS, b'{"items": [{"source_id": "f:9"}]}', b"v"),
    purchase(3, "w", 11 * DAY_MS + 1, "a"),
    purchase(4, "v", 12 * DAY_MS, "c"),
]


def test_a_replay_asks_shows_then_sends_what_was_bought_and_judges(settings):
    entries = [entry for entry in HISTORY if not isinstance(entry, Broken)]
    with EchoLoop(settings, ["a", "z"]) as loop:
        replay = replayed(settings, entries)
        seen = [record for _, record in loop.seen]
    asked = [record for record in seen if isinstance(record, RecommendRequest)]
    assert [(request.visitor_id, request.as_of_ms) for request in asked[:2]] == [
        ("v", 11 * DAY_MS - 1_000)
    ] * 2
    bought = [record for record in seen if isinstance(record, PurchaseMade)]
    second = next(event for event in bought if event.event_id == "e2")
    home = next(request for request in asked if request.surface == "home")
    assert second.items[0].prediction_id == f"loop-{home.request_id}"
    assert second.items[1].prediction_id is None
    assert seen.index(second) > max(seen.index(request) for request in asked[:2])
    assert sum(isinstance(record, ItemListViewed) for record in seen) == len(asked) == 5
    assert replay.player.figures.surfaces["home"].summary()["loop"] == {
        "hr10": 0.5,
        "recall10": 0.25,
        "n": 2,
    }
    assert replay.player.figures.surfaces["discover"].summary()["loop"]["n"] == 2
    again = replay.player.figures.surfaces["buy_again"].summary()["loop"]
    assert again == {"hr10": 1.0, "recall10": 1.0, "n": 1}
    assert replay.player.exclusions == {"not_a_product": 2}
    assert replay.player.source_lines == 5
    assert replay.mixed_versions == 0


def test_every_partition_gets_the_watermarks_and_one_final_one(settings):
    entries = [entry for entry in HISTORY if not isinstance(entry, Broken)]
    with EchoLoop(settings, ["a"]) as loop:
        replayed(settings, entries)
        marks = [record for _, record in loop.seen if isinstance(record, EventWatermark)]
    assert sum(mark.final for mark in marks) == topics.EVENTS.partitions
    assert len(marks) % topics.EVENTS.partitions == 0


def test_the_live_view_draws_the_strip_the_rates_and_the_retrains(settings):
    entries = [entry for entry in HISTORY if not isinstance(entry, Broken)]
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with EchoLoop(settings, ["a"]), LiveView(console) as view:
        replay = replayed(settings, entries, view)
        view.phase("done")
        view.tick(replay)
    drawn = console.file.getvalue()
    for text in ("events/s", "HR@10 by week", "retrains", "version v1"):
        assert text in drawn


def test_a_shop_that_holds_events_is_refused(settings):
    producer = kafka.producer(settings)
    producer.produce(kafka.topic_name(settings, topics.EVENTS), b"{}")
    producer.flush(60)
    with pytest.raises(BadSettings, match="wants an empty shop"):
        replayed(settings, HISTORY)


def test_a_loop_that_does_not_run_is_named(settings, monkeypatch):
    monkeypatch.setattr("local.replay_waits.FOUND_WITHIN_S", 0.5)
    with pytest.raises(Unavailable, match=r"streams\.tasks, shadow, 1 of 1 serving"):
        replayed(settings, HISTORY)
