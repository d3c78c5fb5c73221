"""The outside checker finds a replay complete, and says so when a line is lost or there twice."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sink_factory import ROOT, WITHIN_S, running_sink, send, settings_of, wait_stored

from adapters.clickhouse import connected
from adapters.kafka import ensure_topics
from adapters.tables_migrate import migrate
from core import retail_rules
from core.replay_plan import Broken, Happened
from core.settings import Settings
from local.retail_source import entries
from schemas import topics
from schemas.codec import encode, refused_headers
from schemas.errors import InvalidEvent

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID"
DAYS = {
    "2011-03-01.csv": [
        "1,22423,CAKESTAND,2,2011-03-01 08:00:00,12.75,17850",
        "1,85123A,HEART HOLDER,6,2011-03-01 08:00:00,2.55,17850",
        "1,POST,POSTAGE,1,2011-03-01 08:00:00,18.0,17850",
        "C2,22423,CAKESTAND,-1,2011-03-01 09:00:00,12.75,17850",
        "3,71053,damaged,-4,2011-03-01 10:00:00,0.0,",
    ],
    "2011-03-02.csv": ["4,22423,CAKESTAND,1,2011-03-02 08:00:00,12.75,13047"],
}


def test_the_checker_accepts_a_complete_replay_and_refuses_a_lost_or_repeated_line(
    kafka_address: str, unique_database: str, unique_prefix: str, tmp_path: Path
) -> None:
    settings = settings_of(kafka_address, unique_database, unique_prefix)
    ensure_topics(settings)
    days = tmp_path / "days"
    days.mkdir()
    for name, lines in DAYS.items():
        (days / name).write_text("\n".join([HEADER, *lines]) + "\n")
    happened, broken = _records(days)
    with connected(settings.clickhouse) as client:
        migrate(client)
        _sink(settings, happened, broken)
        status, account = _check(settings, days)
        assert status == 0, account
        assert account["lines"]["source_lines"] == 6
        assert account["lines"]["in_events"] == 4
        assert account["lines"]["in_dead_letters"] == 1
        assert account["lines"]["left_out"] == {"not_a_product": 1}
        counted = {each["topic"]: each for each in account["topics"]}
        events = counted[topics.EVENTS_VALID.full_name(settings.topic_prefix)]
        assert (events["readable"], events["stored"]) == (3, 3)
        assert _check(settings, days, "--before", "2011-03-02")[1]["lines"]["unknown"] == 1
        # The same bytes again, past the broker: the line and the record are there twice.
        client.command("INSERT INTO events SELECT * FROM events WHERE transaction_id = '4'")
        status, account = _check(settings, days)
        assert (status, account["lines"]["duplicated"]) == (1, 1)
        client.command("DELETE FROM events WHERE transaction_id = '4'")
        status, account = _check(settings, days)
        assert (status, account["lines"]["lost"]) == (1, 1)
        assert account["lines"]["examples"] == ["2011-03-02.csv:2"]


def _records(days: Path) -> tuple[list[bytes | None], list[bytes | None]]:
    lines = []
    for name in DAYS:
        with (days / name).open(newline="") as file:
            rows = csv.DictReader(file)
            lines += [(f"{name}:{rows.line_num}", retail_rules.parse(row)) for row in rows]
    found = list(entries(iter(lines)))
    happened: list[bytes | None] = [encode(e.event) for e in found if isinstance(e, Happened)]
    broken: list[bytes | None] = [each.raw for each in found if isinstance(each, Broken)]
    return happened, broken


def _sink(settings: Settings, happened: list[bytes | None], broken: list[bytes | None]) -> None:
    refused = topics.BY_NAME["events.dlq"]
    headers = refused_headers(InvalidEvent("invalid", "quantity"), "events[0]@0")
    send(settings, topics.EVENTS_VALID, happened)
    send(settings, refused, broken, headers=headers)
    with running_sink(settings):
        wait_stored(settings, {topics.EVENTS_VALID: len(happened), refused: len(broken)})


def _check(settings: Settings, days: Path, *options: str) -> tuple[int, Any]:
    command = [sys.executable, str(ROOT / "examples" / "check_replay.py"), str(days)]
    places = ["--clickhouse", settings.clickhouse, "--kafka", settings.kafka]
    ended = subprocess.run(
        [*command, *places, "--prefix", settings.topic_prefix, *options],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert ended.stdout, ended.stderr
    return ended.returncode, json.loads(ended.stdout)
