"""The embedded broker: it answers ordinary clients, keeps its records, and refuses clearly."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from local.child import free_ports
from local.kafka import EmbeddedKafka
from schemas.errors import BadSettings

DEADLINE_S = 120


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("broker")


@pytest.fixture(scope="module")
def broker(home: Path) -> Iterator[EmbeddedKafka]:
    port, controller_port = free_ports(2)
    with EmbeddedKafka(home, port, controller_port) as running:
        yield running


def create_topic(address: str, name: str, partitions: int = 1) -> None:
    # A named client: one that is collected at once gives its futures up.
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result(DEADLINE_S)


def produce(address: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": address, "partitioner": "murmur2_random"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(DEADLINE_S) == 0


def consume(address: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(
        {"bootstrap.servers": address, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        messages = consumer.consume(count, DEADLINE_S)
    finally:
        consumer.close()
    return [message.value() or b"" for message in messages]


def test_what_is_produced_is_consumed(broker: EmbeddedKafka, unique_prefix: str) -> None:
    topic = f"{unique_prefix}plain"
    create_topic(broker.address, topic)
    produce(broker.address, topic, [b"a", b"b"])
    assert consume(broker.address, topic, 2) == [b"a", b"b"]


def test_an_aborted_transaction_is_not_read(broker: EmbeddedKafka, unique_prefix: str) -> None:
    topic = f"{unique_prefix}transactions"
    create_topic(broker.address, topic)
    producer = Producer({"bootstrap.servers": broker.address, "transactional.id": topic})
    producer.init_transactions(DEADLINE_S)
    for value, commit in ((b"kept", True), (b"aborted", False), (b"kept too", True)):
        producer.begin_transaction()
        producer.produce(topic, value)
        producer.flush(DEADLINE_S)
        (producer.commit_transaction if commit else producer.abort_transaction)(DEADLINE_S)
    assert consume(broker.address, topic, 2) == [b"kept", b"kept too"]


def test_a_topic_that_was_not_created_is_not_made_up(broker: EmbeddedKafka) -> None:
    admin = AdminClient({"bootstrap.servers": broker.address})
    assert "made-up" not in admin.list_topics(timeout=DEADLINE_S).topics


def test_records_outlive_a_restart_on_other_ports(tmp_path: Path, unique_prefix: str) -> None:
    topic = f"{unique_prefix}restart"
    port, controller_port = free_ports(2)
    with EmbeddedKafka(tmp_path, port, controller_port) as first:
        create_topic(first.address, topic)
        produce(first.address, topic, [b"kept"])
    port, controller_port = free_ports(2)
    with EmbeddedKafka(tmp_path, port, controller_port) as second:
        assert consume(second.address, topic, 1) == [b"kept"]


def test_a_taken_port_is_refused_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (controller_port,) = free_ports(1)
        with pytest.raises(BadSettings, match=rf"port {port} for kafka is taken"):
            EmbeddedKafka(tmp_path, port, controller_port).start()
