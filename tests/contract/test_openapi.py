"""The published OpenAPI document is whole, and its examples are what it says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest

from core.access import SCOPES
from schemas.__main__ import GOLDENS
from schemas.errors import Denied, InvalidEvent
from schemas.http_routes import BY_NAME, OPERATIONS, PROBLEMS, Operation
from schemas.openapi import FILE, PROBLEM_EXAMPLES
from serving.problems import problem_of

DOCUMENT = json.loads((GOLDENS / FILE).read_text())
CONTENTS = [
    pytest.param(content, id=f"{operation.name}-{where}")
    for operation in OPERATIONS
    for where, content in [
        ("body", DOCUMENT["paths"][operation.path][operation.method.lower()].get("requestBody")),
        *DOCUMENT["paths"][operation.path][operation.method.lower()]["responses"].items(),
    ]
    if content is not None
]


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of the document."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from nodes(each)


def test_every_reference_leads_somewhere() -> None:
    references = {each["$ref"] for each in nodes(DOCUMENT) if isinstance(each.get("$ref"), str)}
    assert references
    for reference in references:
        node: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            assert step in node, reference
            node = node[step]


@pytest.mark.parametrize("content", CONTENTS)
def test_examples_follow_their_schemas(content: dict[str, Any]) -> None:
    for media in content["content"].values():
        jsonschema.Draft202012Validator.check_schema(media["schema"])
        if "example" in media:
            schema = {**media["schema"], "components": DOCUMENT["components"]}
            jsonschema.validate(media["example"], schema)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_examples_of_bodies_are_read_by_the_structs(operation: Operation) -> None:
    made = DOCUMENT["paths"][operation.path][operation.method.lower()]
    assert made["operationId"] == operation.name
    assert set(map(int, made["responses"])) == {*operation.replies, *operation.problems}
    if operation.body is not None:
        (media,) = made["requestBody"]["content"].values()
        msgspec.convert(media["example"], operation.body)


def test_names_paths_and_scopes_are_one_each() -> None:
    assert len(BY_NAME) == len(OPERATIONS)
    assert len({(each.method, each.path) for each in OPERATIONS}) == len(OPERATIONS)
    assert {each.scope for each in OPERATIONS} <= {*SCOPES, "", None}
    assert {status for each in OPERATIONS for status in each.problems} == set(PROBLEMS)
    assert [each.name for each in OPERATIONS if each.scope is None] == ["healthz"]


def test_every_field_says_what_it_is() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            assert described.get("description"), f"{name}.{field}"


def test_examples_of_problems_are_worded_as_the_server_words_them() -> None:
    assert PROBLEM_EXAMPLES.keys() == PROBLEMS.keys()
    for status, (kind, title, detail) in PROBLEM_EXAMPLES.items():
        error = InvalidEvent(kind, detail) if status == 400 else Denied(status, kind, detail)
        problem, _ = problem_of(error, None)
        assert (problem.status, problem.title) == (status, title)


def test_what_a_field_says_of_null_is_said_where_null_may_stand() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    for name, schema in schemas.items():
        for field, described in schema.get("properties", {}).items():
            if "null:" in described.get("description", ""):
                assert {"type": "null"} in described.get("anyOf", []), f"{name}.{field}"
