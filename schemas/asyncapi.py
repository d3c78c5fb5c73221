"""The AsyncAPI 3.0 document: topics, messages and who sends or receives them, from the structs.

Nothing in it is written by hand that a struct, `schemas/topics.py` or `schemas/processes.py` says.
Addresses are variables: where Kafka is, is a setting.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0 and the Kafka bindings 0.5.0.
"""

import json
from typing import Any

import msgspec
from msgspec import inspect

from schemas.codec import (
    CUT_HEADER,
    MESSAGE_HEADER,
    ORIGIN_HEADER,
    REASON_HEADER,
    REPLAY_HEADER,
)
from schemas.events import EventWatermark
from schemas.examples import example_of
from schemas.processes import PROCESSES, Action, Process
from schemas.topics import ALL, Topic
from schemas.watermarks import Watermark

CONTRACT_VERSION = "1.0.0"
BINDING_VERSION = "0.5.0"
PREFIX = "shoploop."
FILE = "asyncapi.json"
_JSON_TYPE = "application/json"
_BYTES_TYPE = "application/octet-stream"
_KEYLESS = (Watermark, EventWatermark)
_REFUSED = "DeadLetter"
Json = dict[str, Any]


def asyncapi_text() -> str:
    """The document as it is published: indented JSON, the same every time."""
    return json.dumps(asyncapi_document(), indent=2, ensure_ascii=False) + "\n"


def asyncapi_document() -> Json:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": _info(),
        "defaultContentType": _JSON_TYPE,
        "servers": {"kafka": _server()},
        "channels": {channel_id(topic): _channel(topic) for topic in ALL},
        "operations": _operations(),
        "components": {
            "messages": _messages(),
            "schemas": {**_headers(), **_payloads()},
            "serverVariables": {"kafka": {"description": "SHOPLOOP_KAFKA: bootstrap servers"}},
        },
    }


def channel_id(topic: Topic) -> str:
    """What the document calls a topic; generators make names of it, so it has no dots.

    >>> from schemas import topics
    >>> channel_id(topics.EVENTS_VALID)
    'events_valid'
    """
    return topic.name.replace(".", "_")


def message_names(topic: Topic) -> list[str]:
    """The names of the messages that a topic holds.

    >>> from schemas import topics
    >>> message_names(topics.PREDICTIONS), message_names(topics.refused(topics.EVENTS))
    (['Prediction', 'Watermark'], ['DeadLetter'])
    """
    return [each.cls.__name__ for each in _structs(topic)] or [_REFUSED]


def _info() -> Json:
    return {
        "title": "shoploop",
        "version": CONTRACT_VERSION,
        "description": (
            "What a shop and shoploop say to each other over Kafka, and what shoploop's processes "
            "say among themselves. Records are JSON; change is additive: a reader ignores fields "
            "it does not know. Times are UTC epoch milliseconds in the payload; Kafka's own "
            "timestamps mean nothing. Keys are placed by Java's partitioner (murmur2): a client "
            "on librdkafka must set partitioner=murmur2_random."
        ),
        "license": {"name": "Apache-2.0"},
    }


def _server() -> Json:
    return {
        "host": "{kafka}",
        "protocol": "kafka",
        "description": "The broker that SHOPLOOP_KAFKA names.",
        "variables": {"kafka": _ref("serverVariables", "kafka")},
    }


def _channel(topic: Topic) -> Json:
    keys = f"Keyed by {topic.key}."
    return {
        "address": topic.full_name("{prefix}"),
        "description": f"{_about(topic)} {keys}",
        "parameters": {
            "prefix": {
                "description": "SHOPLOOP_TOPIC_PREFIX, the same for every process",
                "default": PREFIX,
            }
        },
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {name: _ref("messages", name) for name in message_names(topic)},
        "bindings": {"kafka": _kafka_channel(topic)},
    }


def _about(topic: Topic) -> str:
    if topic.refused_from:
        return f"Records of {topic.refused_from} that were refused, their bytes untouched."
    return " ".join(_first_line(each.cls) for each in _structs(topic) if each.cls not in _KEYLESS)


def _kafka_channel(topic: Topic) -> Json:
    configuration: Json = {"cleanup.policy": [topic.cleanup]}
    if topic.retention_ms is not None:
        configuration["retention.ms"] = topic.retention_ms
    return {
        "topic": topic.full_name(PREFIX),
        "partitions": topic.partitions,
        "topicConfiguration": configuration,
        "bindingVersion": BINDING_VERSION,
    }


def _operations() -> Json:
    found: Json = {}
    for process in PROCESSES:
        name = process.name.replace(".", "_")
        for topic in process.sends:
            found[f"{name}_send_{channel_id(topic)}"] = _operation(process, "send", topic)
        for topic in process.receives:
            found[f"{name}_receive_{channel_id(topic)}"] = _operation(process, "receive", topic)
    return found


def _operation(process: Process, action: Action, topic: Topic) -> Json:
    made: Json = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel_id(topic)}"},
        "summary": f"{process.name}: {process.summary}",
        "tags": [{"name": process.name}],
    }
    if action == "receive" and process.group is not None:
        group = {"type": "string", "default": PREFIX + process.group}
        made["bindings"] = {"kafka": {"groupId": group, "bindingVersion": BINDING_VERSION}}
    return made


def _messages() -> Json:
    found: Json = {}
    for topic in ALL:
        for struct in _structs(topic):
            found.setdefault(struct.cls.__name__, _message(struct, topic))
    found[_REFUSED] = _dead_letter()
    return dict(sorted(found.items()))


def _message(struct: inspect.StructType, topic: Topic) -> Json:
    name = struct.cls.__name__
    made: Json = {
        "name": name,
        "title": str(struct.tag or topic.name),
        "summary": _first_line(struct.cls),
        "contentType": _JSON_TYPE,
        "headers": _ref("schemas", "CloudEventHeaders"),
        "payload": _ref("schemas", name),
        "examples": [{"name": "typical", "payload": example_of(struct)}],
    }
    if struct.cls not in _KEYLESS:
        made["bindings"] = _kafka_key(topic.key)
    return made


def _dead_letter() -> Json:
    return {
        "name": _REFUSED,
        "title": "dead letter",
        "summary": "A refused record: key and bytes untouched, the reason in its headers.",
        "contentType": _BYTES_TYPE,
        "headers": _ref("schemas", "DeadLetterHeaders"),
        "payload": {"description": "The refused bytes, whatever they are."},
        "bindings": _kafka_key("what the source's key was"),
    }


def _kafka_key(key: str) -> Json:
    schema = {"type": "string", "description": key}
    return {"kafka": {"key": schema, "bindingVersion": BINDING_VERSION}}


def _headers() -> Json:
    cloud: Json = {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_type": _text("such as shoploop.purchase.v1"),
        "ce_source": _text("the process or system that wrote the record"),
        "ce_id": _text("the record's own id: event_id, prediction_id, ..."),
    }
    replay = {REPLAY_HEADER: _text("topic[partition]@offset of the dead letter sent again")}
    refused: Json = {
        REASON_HEADER: _text("a stable word to group by, such as missing_visitor_id"),
        MESSAGE_HEADER: _text("what exactly was wrong, at most 2,000 characters"),
        ORIGIN_HEADER: _text("topic[partition]@offset of the refused record"),
    }
    cut = {CUT_HEADER: _text("only where not all of it fits: bytes of key, value and own headers")}
    return {
        "CloudEventHeaders": {
            "type": "object",
            "description": (
                "CloudEvents 1.0 attributes (Kafka binding, binary mode) as shoploop writes them; "
                "optional on what a shop writes."
            ),
            "properties": {**cloud, **replay},
        },
        "DeadLetterHeaders": {
            "type": "object",
            "description": "The refused record's own headers, and why it was refused.",
            "required": sorted(refused),
            "properties": {**cloud, **replay, **refused, **cut},
        },
    }


def _payloads() -> Json:
    classes = [struct.cls for topic in ALL for struct in _structs(topic)]
    _, components = msgspec.json.schema_components(
        list(dict.fromkeys(classes)), ref_template="#/components/schemas/{name}"
    )
    return {name: _plain(schema) for name, schema in sorted(components.items())}


def _plain(schema: Any) -> Any:
    """The schema without OpenAPI's discriminator: in AsyncAPI the word means something else."""
    if isinstance(schema, dict):
        kept = (key for key in schema if key != "discriminator" or "anyOf" not in schema)
        return {key: _plain(schema[key]) for key in kept}
    return [_plain(each) for each in schema] if isinstance(schema, list) else schema


def _structs(topic: Topic) -> list[inspect.StructType]:
    if topic.record is None:
        return []
    info = inspect.type_info(topic.record)
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    return [each for each in members if isinstance(each, inspect.StructType)]


def _first_line(struct: type) -> str:
    return (struct.__doc__ or "").strip().split("\n", 1)[0]


def _text(description: str) -> Json:
    return {"type": "string", "description": description}


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}
