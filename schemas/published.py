"""The JSON Schema documents that are published for every topic's record and for the manifest."""

import json
from typing import Any

import msgspec

from schemas.models import Manifest
from schemas.topics import ALL


def golden_documents() -> dict[str, str]:
    """File name → JSON Schema text, one per topic that has a record, and the manifest's."""
    records: dict[str, Any] = {
        topic.name: topic.record for topic in ALL if topic.record is not None
    }
    records["manifest"] = Manifest
    return {f"{name}.json": _document(name, record) for name, record in records.items()}


def _document(name: str, record: Any) -> str:
    (schema,), components = msgspec.json.schema_components([record], ref_template="#/$defs/{name}")
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        **schema,
        "$defs": components,
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
