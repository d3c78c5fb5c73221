"""Records as large as a broker takes, and larger ones that are small while they are compressed."""

from __future__ import annotations

import os

from confluent_kafka import KafkaError, Producer

from adapters.kafka import topic_name
from core.settings import Settings
from schemas.topics import Topic

BROKER_TAKES_BYTES = 1_048_588


def write_largest(settings: Settings, topic: Topic, key: bytes, begin: bytes) -> bytes:
    """The value of the largest record of this beginning that the broker took."""
    client = _producer(settings, "none")
    value = begin + os.urandom(BROKER_TAKES_BYTES)
    errors: list[KafkaError | None] = []
    for size_bytes in range(BROKER_TAKES_BYTES - 60, 0, -1):
        name = topic_name(settings, topic)
        client.produce(name, value[:size_bytes], key, on_delivery=lambda e, _: errors.append(e))
        client.flush(60)
        if (error := errors[-1]) is None:
            return value[:size_bytes]
        assert error.code() == KafkaError.MSG_SIZE_TOO_LARGE, error.str()
    raise AssertionError("the broker takes nothing")


def write_compressed(
    settings: Settings, topic: Topic, key: bytes, value: bytes, own: bytes = b""
) -> None:
    """A record that lz4 brings below the broker's bound; `own` is the value of a header `own`."""
    client = _producer(settings, "lz4")
    client.produce(topic_name(settings, topic), value, key, headers=[("own", own)] if own else [])
    assert client.flush(60) == 0


def _producer(settings: Settings, compression: str) -> Producer:
    return Producer(
        {
            "bootstrap.servers": settings.kafka,
            "message.max.bytes": 20_000_000,
            "compression.type": compression,
            "partitioner": "murmur2_random",
        }
    )
