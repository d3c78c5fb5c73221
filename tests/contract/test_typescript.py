"""The published TypeScript declares every field of every struct that it should."""

from __future__ import annotations

import re

import pytest
from msgspec import inspect

from schemas.__main__ import GOLDENS
from schemas.http_routes import OPERATIONS
from schemas.processes import SHOP
from schemas.typescript import FILE

TEXT = (GOLDENS / FILE).read_text()
INTERFACES = {
    name: dict(re.findall(r"^  \"?([\w.]+)\"?\??: (.*)$", body, re.M))
    for name, body in re.findall(r"^export interface (\w+) \{\n(.*?)^\}", TEXT, re.M | re.S)
}


def structs(kind: object) -> list[inspect.StructType]:
    """The structs that a type names itself."""
    info = inspect.type_info(kind)
    members = info.types if isinstance(info, inspect.UnionType) else (info,)
    return [each for each in members if isinstance(each, inspect.StructType)]


@pytest.mark.parametrize(
    "kind",
    [
        *(each.body for each in OPERATIONS if each.body is not None),
        *(kind for each in OPERATIONS for kind, _ in each.replies.values()),
        *(topic.record for topic in (*SHOP.sends, *SHOP.receives) if topic.record is not None),
    ],
)
def test_every_field_of_every_record_is_declared(kind: object) -> None:
    for struct in structs(kind):
        declared = INTERFACES[struct.cls.__name__]
        fields = {field.encode_name for field in struct.fields}
        assert fields <= declared.keys()
        tag = {struct.tag_field} if struct.tag_field else set()
        assert declared.keys() == fields | tag


def test_every_name_that_is_used_is_declared() -> None:
    types = re.findall(r"^  +\"?[\w.]+\"?\??: (.*);$", TEXT, re.M)
    names = re.findall(r"\b[A-Z]\w+", re.sub(r"\"[^\"]*\"", "", " ".join(types)))
    assert names
    assert set(names) <= INTERFACES.keys() | {"Record"}


def test_every_operation_and_topic_of_the_shop_is_declared() -> None:
    assert INTERFACES["Calls"].keys() >= {each.name for each in OPERATIONS}
    topics = {each.name for each in (*SHOP.sends, *SHOP.receives) if each.record is not None}
    assert INTERFACES["Topics"].keys() == topics
