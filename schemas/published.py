"""What is published: JSON Schemas of records and manifest, AsyncAPI, OpenAPI, TypeScript."""

import json
from typing import Any

import msgspec

from schemas import asyncapi, openapi, typescript
from schemas.models import Manifest
from schemas.topics import ALL


def golden_documents() -> dict[str, str]:
    """File name → text: one JSON Schema per topic that has a record, the manifest's; the APIs'."""
    records: dict[str, Any] = {
        topic.name: topic.record for topic in ALL if topic.record is not None
    }
    records["manifest"] = Manifest
    schemas = {f"{name}.json": _document(name, record) for name, record in records.items()}
    return {
        **schemas,
        asyncapi.FILE: asyncapi.asyncapi_text(),
        openapi.FILE: openapi.openapi_text(),
        typescript.FILE: typescript.typescript_text(),
    }


def _document(name: str, record: Any) -> str:
    (schema,), components = msgspec.json.schema_components([record], ref_template="#/$defs/{name}")
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        **schema,
        "$defs": components,
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"
