"""The OpenAPI 3.1 document: every operation of `schemas/http_routes.py`, from the structs.

Nothing in it is written by hand that a struct or the table of operations says.
Source: https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import inspect

from schemas.examples import example_of
from schemas.fields import meaning_of
from schemas.http import Problem
from schemas.http_routes import JSON, OPERATIONS, PROBLEM_JSON, PROBLEMS, TEXT, Operation

VERSION = "1.0.0"
FILE = "openapi.json"
Json = dict[str, Any]
_RETRY = (409, 429, 503)
_TRACE = "X-Request-Id"
PROBLEM_EXAMPLES: dict[int, tuple[str, str, str]] = {
    400: ("invalid", "A field cannot be used", "Expected `int` <= 100 - at `$.k`"),
    401: ("missing", "A key or a token is needed", "an API key or a token is needed"),
    403: ("scope", "The key is not allowed this", "scope recommend is needed"),
    404: ("unknown_task", "No such task is served here", "'tone' is no task that is served here"),
    408: ("too_slow", "The body did not come in time", "the body took longer than 10 s"),
    409: ("conflict", "The same call is being answered", "the same call is being answered"),
    413: ("too_large", "The body is too large", "the body has more than 1048576 bytes"),
    415: ("media_type", "The body's type is not taken", "the body is 'text/xml'"),
    421: ("misdirected", "Another process serves this visitor", "it is of partition 1"),
    422: ("key_reused", "The Idempotency-Key belongs to another body", "it was used before"),
    429: ("rate", "Too many requests", "too many requests with this key"),
    500: ("internal", "An error of ours", "an error that should not happen; it is in the log"),
    503: ("overloaded", "Too many requests wait", "256 wait; try again in 1 s"),
    504: ("deadline_exceeded", "No answer in time", "no answer within 200 ms"),
}
"""By status: its commonest word, its title and a detail."""
_PARAMETERS = {
    "task": "The text task, such as the name of its file.",
    "prediction_id": "The token that came with the answer.",
}


def openapi_text() -> str:
    """The document as it is published: indented JSON, the same every time."""
    return json.dumps(openapi_document(), indent=2, ensure_ascii=False) + "\n"


def openapi_document() -> Json:
    """The whole document."""
    paths: Json = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": _info(),
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "parameters": {"Trace": _trace(), "IdempotencyKey": _idempotency()},
            "headers": {
                _TRACE: {"schema": {"type": "string"}, "description": "The call's name."},
                "Retry-After": {
                    "schema": {"type": "integer", "minimum": 1},
                    "description": "Seconds after which to come back.",
                },
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, or a token of the shop's OpenID Connect issuer.",
                },
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-API-Key",
                    "description": "An API key, made by `shoploop keys create`.",
                },
            },
        },
    }


def _info() -> Json:
    return {
        "title": "shoploop",
        "version": VERSION,
        "description": (
            "Questions and events of a shop. Change is additive: ignore fields you do not know, as "
            "we do; what is not additive gets a new path. Times are UTC epoch milliseconds. Errors "
            "are problem details (RFC 9457). A POST may carry an Idempotency-Key: made again with "
            "the same body it gets the same answer."
        ),
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }


def _operation(operation: Operation) -> Json:
    made: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": {**_replies(operation), **_problems(operation)},
        "security": [] if operation.scope is None else [{}, {"bearer": []}, {"key": []}],
    }
    if operation.scope:
        made["description"] = f"A key needs the scope `{operation.scope}`."
    if operation.body is not None:
        made["requestBody"] = {"required": True, "content": {JSON: _content(operation.body)}}
    return made


def _parameters(operation: Operation) -> list[Json]:
    found: list[Json] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PARAMETERS[name],
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        }
        for name in operation.parameters
    ]
    found.append(_ref("parameters", "Trace"))
    if operation.method == "POST":
        found.append(_ref("parameters", "IdempotencyKey"))
    return found


def _replies(operation: Operation) -> Json:
    return {
        str(status): {
            "description": text,
            "headers": _headers(status),
            "content": _reply_content(kind),
        }
        for status, (kind, text) in operation.replies.items()
    }


def _reply_content(kind: Any) -> Json:
    if kind is str:
        return {TEXT: {"schema": {"type": "string"}}}
    if kind is dict:
        return {JSON: {"schema": {"type": "object"}}}
    return {JSON: _content(kind)}


def _problems(operation: Operation) -> Json:
    return {
        str(status): {
            "description": PROBLEMS[status],
            "headers": _headers(status),
            "content": {PROBLEM_JSON: _problem(status)},
        }
        for status in sorted(operation.problems)
        if status not in operation.replies
    }


def _problem(status: int) -> Json:
    """The problem of a status, with an example."""
    kind, title, detail = PROBLEM_EXAMPLES[status]
    example = {
        "type": f"urn:shoploop:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": "01a22448-7fa3-7242-8f96-813b6830b284",
    }
    return {"schema": _ref("schemas", "Problem"), "example": example}


def _headers(status: int) -> Json:
    names = [_TRACE, *(["Retry-After"] if status in _RETRY else [])]
    return {name: _ref("headers", name) for name in names}


def _content(kind: Any) -> Json:
    return {"schema": _schema(kind), "example": _example(kind)}


def _schema(kind: Any) -> Json:
    (schema,), _ = msgspec.json.schema_components([kind], ref_template=_TEMPLATE)
    plain: Json = _plain(schema)
    return plain


def _example(kind: Any) -> Any:
    """An example of a type; of a union, of the member that tells most: an order, else the last."""
    info = inspect.type_info(kind)
    if isinstance(info, inspect.UnionType):
        structs = [each for each in info.types if isinstance(each, inspect.StructType)]
        info = next((each for each in structs if each.tag == "purchase"), structs[-1])
    assert isinstance(info, inspect.StructType)
    return example_of(info)


def _schemas() -> Json:
    kinds: list[Any] = [Problem]
    for operation in OPERATIONS:
        kinds += [operation.body] if operation.body is not None else []
        kinds += [kind for kind, _ in operation.replies.values() if kind not in (str, dict)]
    _, components = msgspec.json.schema_components(kinds, ref_template=_TEMPLATE)
    return {name: _told(name, _plain(schema)) for name, schema in sorted(components.items())}


def _told(name: str, schema: Json) -> Json:
    """The record's schema, each field with what it says."""
    for field, described in schema.get("properties", {}).items():
        meaning = meaning_of(name, field)
        if meaning:
            described["description"] = meaning
    return schema


def _plain(schema: Any) -> Any:
    """The schema with each description's first paragraph in one line."""
    if isinstance(schema, dict):
        return {
            key: " ".join(value.split()) if key == "description" else _plain(value)
            for key, value in schema.items()
        }
    return [_plain(each) for each in schema] if isinstance(schema, list) else schema


def _trace() -> Json:
    return {
        "name": _TRACE,
        "in": "header",
        "description": (
            "A name for the call, printable ASCII of at most 128 characters; it is sent back, and "
            "another one is when it is not of this form."
        ),
        "schema": {"type": "string"},
    }


def _idempotency() -> Json:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": (
            "The same key with the same body gets the same answer for a day; with another body it "
            "is refused (draft-ietf-httpapi-idempotency-key-header)."
        ),
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


_TEMPLATE = "#/components/schemas/{name}"
