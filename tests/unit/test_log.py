"""A log line is one JSON object, and holds nothing of what a shopper is or wrote."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from adapters.artefacts import ArtefactStore
from adapters.clickhouse import connect
from adapters.log import JsonLines
from adapters.tracing import check
from core.settings import Settings
from schemas.errors import BadSettings, Unavailable


def line(message: str, *arguments: object, failed: bool = False) -> dict[str, str]:
    error = sys.exc_info() if failed else None
    record = logging.LogRecord("serving", logging.ERROR, __file__, 1, message, arguments, error)
    found: dict[str, str] = json.loads(JsonLines("serving-1").format(record))
    return found


def test_a_line_tells_process_level_and_message() -> None:
    found = line("%d\nlines", 2)
    assert (found["process"], found["level"]) == ("serving-1", "ERROR")
    assert found["message"] == "2\nlines"


def test_the_text_of_a_bug_is_left_out_and_that_of_ours_is_not() -> None:
    visitor, query = "v-" + "17850", "for my " + "wife"
    try:
        try:
            {"a": 1}[visitor]
        except KeyError as error:
            raise ValueError(query) from error
    except ValueError:
        found = line("a handler failed", failed=True)["error"]
    assert visitor not in found
    assert query not in found
    assert found.index("KeyError") < found.rindex("ValueError")
    assert "test_log.py" in found
    try:
        raise Unavailable("Kafka does not answer")
    except Unavailable:
        assert "Unavailable: Kafka does not answer" in line("stopped", failed=True)["error"]


def test_an_address_that_cannot_be_used_is_told_without_its_password() -> None:
    wrong = "s3://shop:hush@bucket/versions?token=hush"
    settings = Settings(otlp=wrong, clickhouse=wrong, artefacts=wrong, jwt_jwks=wrong)
    said = [repr(settings)]
    for attempt in (
        lambda: ArtefactStore(wrong),
        lambda: check(settings),
        lambda: connect(wrong),
    ):
        with pytest.raises(BadSettings) as caught:
            attempt()
        said.append(str(caught.value))
    assert not [text for text in said if "hush" in text]
    assert all("s3://***@bucket/versions" in text for text in said)
