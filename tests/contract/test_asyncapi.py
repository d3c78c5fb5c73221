"""The published AsyncAPI document is valid, complete, and true of the records of the product."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from record_samples import RECORDS

from core.settings import Settings
from schemas import codec, topics
from schemas.__main__ import GOLDENS
from schemas.asyncapi import FILE, PREFIX, channel_id, message_names
from schemas.errors import InvalidEvent
from schemas.processes import PROCESSES, SHOP
from schemas.topics import Topic
from serving.state import FOLLOWED
from streams.tasks import TaskRoom
from streams.visitors import VisitorStage

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its models shadow names of pydantic's
    from asyncapi3.models import AsyncAPI3

DOCUMENT = json.loads((GOLDENS / FILE).read_text())


def payload_schema(message: str) -> dict[str, Any]:
    """The payload schema of a message, with what it refers to."""
    return {
        "$ref": DOCUMENT["components"]["messages"][message]["payload"]["$ref"],
        "components": DOCUMENT["components"],
    }


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from references(each)


def test_the_document_follows_asyncapi_3() -> None:
    AsyncAPI3.model_validate(DOCUMENT)


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        node: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in node, reference
            node = node[step]


@pytest.mark.parametrize("topic", topics.ALL, ids=lambda topic: topic.name)
def test_every_topic_is_a_channel_with_the_bindings_of_the_table(topic: Topic) -> None:
    channel = DOCUMENT["channels"][channel_id(topic)]
    assert channel["address"].replace("{prefix}", PREFIX) == topic.full_name(PREFIX)
    binding = channel["bindings"]["kafka"]
    assert binding["topic"] == topic.full_name()
    assert binding["partitions"] == topic.partitions
    configuration = binding["topicConfiguration"]
    assert configuration["cleanup.policy"] == [topic.cleanup]
    assert configuration.get("retention.ms") == topic.retention_ms
    assert sorted(channel["messages"]) == sorted(message_names(topic))


def test_there_is_no_channel_without_a_topic_and_the_prefix_is_the_settings_default() -> None:
    assert len(DOCUMENT["channels"]) == len(topics.ALL)
    assert Settings().topic_prefix == PREFIX


def test_every_topic_has_a_reader_and_a_writer() -> None:
    read = {topic.name for process in PROCESSES for topic in process.receives}
    sent = {topic.name for process in PROCESSES for topic in process.sends}
    everything = {topic.name for topic in topics.ALL}
    assert everything - read == {topics.PROGRESS.name}  # replays wait on it; no process acts on it
    assert everything == sent


def test_the_processes_read_what_the_document_says() -> None:
    reads = {process.name: {t.name for t in process.receives} for process in PROCESSES}
    assert reads["streams.visitors"] >= {topic.name for topic in VisitorStage.inputs}
    assert reads["streams.tasks"] >= {topic.name for topic in TaskRoom.inputs}
    assert reads["serving"] >= {topic.name for topic in FOLLOWED}


@pytest.mark.parametrize("message", sorted(DOCUMENT["components"]["messages"]))
def test_every_example_is_valid(message: str) -> None:
    for example in DOCUMENT["components"]["messages"][message].get("examples", []):
        jsonschema.Draft202012Validator(payload_schema(message)).validate(example["payload"])
        holding = [topic for topic in topics.ALL if message in message_names(topic)]
        for topic in holding:
            record = codec.Decoder(topic.record)(json.dumps(example["payload"]).encode())
            assert type(record).__name__ == message


def test_records_of_the_product_are_valid() -> None:
    for topic, records in RECORDS.items():
        for record in records:
            name = type(record).__name__
            assert name in message_names(topic)
            data = json.loads(codec.encode(record))
            jsonschema.Draft202012Validator(payload_schema(name)).validate(data)


def test_headers_written_are_headers_described() -> None:
    described = DOCUMENT["components"]["schemas"]
    written = {name: value.decode() for name, value in codec.cloud_headers("event", "e1", "shop")}
    cloud = described["CloudEventHeaders"]
    assert written.keys() <= cloud["properties"].keys()
    jsonschema.validate(written, cloud)
    refused = codec.refused_headers(InvalidEvent("empty", "no value"), "shoploop.events.v1[0]@7")
    both = written | {name: value.decode() for name, value in refused}
    dead = described["DeadLetterHeaders"]
    jsonschema.validate(both, dead)
    assert sorted(name for name, _ in refused) == dead["required"]


def test_the_shop_writes_events_items_and_questions_and_reads_answers() -> None:
    operations = DOCUMENT["operations"]
    assert operations["shop_send_events"]["action"] == "send"
    assert operations["shop_receive_predictions"]["channel"] == {"$ref": "#/channels/predictions"}
    assert [topic.name for topic in SHOP.sends][:3] == ["events", "items", "requests"]


def test_addresses_are_settings() -> None:
    text = (GOLDENS / FILE).read_text()
    assert "127.0.0.1" not in text
    assert "localhost" not in text
