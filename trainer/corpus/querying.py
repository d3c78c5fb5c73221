"""Rows of a task's own ClickHouse query, which is the operator's; consent is checked once more.

A result with a column `consent_training` loses the rows where it is false.
"""

from __future__ import annotations

import hashlib
from typing import Any

from adapters.clickhouse import connected, dsn_of
from adapters.clock import wall_ms
from core.settings import Settings
from schemas.errors import BadSettings
from trainer.corpus.files import Row, as_text
from trainer.corpus.settings import DataSettings

CONSENT = "consent_training"


def query_rows(data: DataSettings, settings: Settings) -> tuple[list[Row], dict[str, Any]]:
    """The rows as text, and what the card says of where they are from.

    Raises:
        BadSettings: there is no query, or ClickHouse refused it.
        Unavailable: ClickHouse did not answer.
    """
    if not data.query.strip():
        raise BadSettings("data.source = 'clickhouse' needs data.query")
    until_ms = data.until_ms or wall_ms()
    with connected(dsn_of(settings)) as client:
        names, found = client.query_table(data.query, {"until": until_ms})
    rows = [
        {name: as_text(value) for name, value in zip(names, values, strict=True)}
        for values in found
    ]
    asked = hashlib.sha256(data.query.encode()).hexdigest()
    return rows, {"name": "clickhouse", "query_sha256": asked, "until_ms": until_ms}


def without_consent(row: Row) -> bool:
    """Whether a row says that it may not be trained on.

    >>> without_consent({"consent_training": "false"}), without_consent({"text": "a"})
    (True, False)
    """
    return row.get(CONSENT, "").casefold() in ("false", "0")
