"""A replica that starts after Kafka has deleted events: the rest of the past is in ClickHouse."""

from pathlib import Path

import clickhouse_connect
import httpx
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from serving_factory import Shop, running, wall_ms

from adapters.clickhouse import connected
from adapters.kafka import topic_name
from adapters.tables import OF_TOPIC
from core.settings import Settings
from schemas import topics


def test_replica_takes_from_clickhouse_what_kafka_has_deleted(
    kafka_address: str, unique_database: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = Shop(
        Settings(
            kafka=kafka_address,
            clickhouse=unique_database,
            topic_prefix=unique_prefix,
            home=str(tmp_path),
        )
    )
    shop.stock()
    _store(shop, "old", ["c", "d"], wall_ms() - 90_000)
    _delete_all(shop)
    shop.write(topics.ITEMS, "spoilt", b"{}")
    shop.buy("old", "e", at_ms=wall_ms() - 1_000)
    shop.flush()
    with running(shop.settings, clickhouse=unique_database) as replica:
        question = {"visitor_id": "old", "k": 3, "surface": "discover"}
        reply = httpx.post(f"{replica.url}/v1/recommend", json=question)
    assert sorted(item["item_id"] for item in reply.json()["items"]) == ["a", "b", "f"]


def _store(shop: Shop, visitor: str, items: list[str], at_ms: int) -> None:
    """One purchase as the sink writes it, from an offset that Kafka no longer has."""
    table = OF_TOPIC[topics.EVENTS_VALID.name]
    with connected(shop.settings.clickhouse) as client:
        client.command(table.ddl())
    names = [
        "event_name",
        "event_id",
        "event_time_ms",
        "visitor_id",
        "items.item_id",
        "items.quantity",
        "items.price",
        "items.prediction_id",
        "items.source_id",
        "_topic",
        "_partition",
        "_offset",
    ]
    nothing = [None] * len(items)
    topic = topic_name(shop.settings, topics.EVENTS_VALID)
    partition = _partition_of_the_only_event(shop)
    ones = [1] * len(items)
    row = ["purchase", "old-1", at_ms, visitor, items, ones, nothing, nothing, nothing]
    with clickhouse_connect.get_client(dsn=shop.settings.clickhouse, compress=False) as client:
        client.insert(table.name, [[*row, topic, partition, 0]], column_names=names)


def _partition_of_the_only_event(shop: Shop) -> int:
    ends = shop.ends(topics.EVENTS_VALID)
    return next(number for number, end in ends.items() if end > 0)


def _delete_all(shop: Shop) -> None:
    name = topic_name(shop.settings, topics.EVENTS_VALID)
    ends = shop.ends(topics.EVENTS_VALID)
    places = [TopicPartition(name, number, end) for number, end in ends.items() if end > 0]
    admin = AdminClient({"bootstrap.servers": shop.settings.kafka})
    for future in admin.delete_records(places).values():
        future.result(20)
