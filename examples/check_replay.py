"""Checks a replay of the Online Retail data from outside: no line lost, none twice.

Imports nothing of shoploop. Every line of the source files, known as `<file>:<line>` (the header is
line 1), has to be in exactly one place: in an event of ClickHouse's table `events`, in the bytes of
a dead letter, or left out by a rule of `RULES`. With --kafka, every topic's readable records are
counted too and compared with the rows of all tables. Exits 1 when anything does not add up.

    python examples/check_replay.py data/online_retail.tar.xz \\
        --clickhouse http://127.0.0.1:18123/shoploop --kafka 127.0.0.1:19092
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import clickhouse_connect

# Rules by which a line is left out, each under the name that the replay's report gives it.
RULES: dict[str, Callable[[dict[str, str]], bool]] = {
    "not_a_product": lambda line: not line["StockCode"].strip()[:1].isdigit(),
}
# Topics that the sink does not store: events.valid and the dead letters say all that events said,
# slots repeats predictions and outcomes, progress is heartbeats.
NOT_SUNK = ("events", "slots", "progress")
READ_WITHIN_S = 300.0


def opened(source: Path) -> Iterator[tuple[str, io.TextIOBase]]:
    """The day files of an archive or a folder, by name."""
    if source.is_dir():
        for path in sorted(source.rglob("*.csv")):
            yield path.name, path.open(encoding="utf-8", newline="")
        return
    with tarfile.open(source) as packed:
        for member in packed:
            stream = packed.extractfile(member) if member.name.endswith(".csv") else None
            if stream is not None:
                text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
                yield PurePosixPath(member.name).name, text


def source_lines(source: Path, before: str) -> tuple[set[str], Counter[str], set[str]]:
    """Ids of the lines to be found, how many each rule leaves out, and the ids left out.

    Args:
        source: the archive or folder.
        before: files of this day and later are not part of the replay.
    """
    wanted: set[str] = set()
    left_out: set[str] = set()
    by_rule: Counter[str] = Counter()
    for name, text in opened(source):
        with text:
            if name.removesuffix(".csv") >= before:
                continue
            lines = csv.DictReader(text)
            for line in lines:
                rule = next((rule for rule, matches in RULES.items() if matches(line)), None)
                source_id = f"{name}:{lines.line_num}"
                if rule is None:
                    wanted.add(source_id)
                else:
                    by_rule[rule] += 1
                    left_out.add(source_id)
    return wanted, by_rule, left_out


def found_lines(client: Any) -> tuple[Counter[str], Counter[str]]:
    """How often each source id is in the events, and how often in refused bytes."""
    query = "SELECT arrayJoin(items.source_id) AS id FROM events WHERE id IS NOT NULL"
    events: Counter[str] = Counter(row[0] for row in client.query(query).result_rows)
    dead: Counter[str] = Counter()
    letters = client.query("SELECT hex(value) FROM dead_letters WHERE topic = 'events'")
    for (value,) in letters.result_rows:
        text = bytes.fromhex(value).decode("utf-8", "replace")
        dead.update(re.findall(r'"source_id"\s*:\s*"([^"]+)"', text))
    return events, dead


def stored_records(client: Any) -> dict[str, int]:
    """Rows by the full topic name they came from, over every table that says so."""
    tables = client.query(
        "SELECT table FROM system.columns WHERE database = currentDatabase() AND name = '_topic' "
        "AND table NOT LIKE '\\_%'"
    ).result_rows
    stored: Counter[str] = Counter()
    for (table,) in tables:
        rows = client.query(f"SELECT _topic, count() FROM `{table}` GROUP BY _topic")
        stored.update({topic: int(count) for topic, count in rows.result_rows})
    return stored


def readable_records(address: str, prefix: str) -> dict[str, int]:
    """Committed records by full topic name, counted by reading every partition to its end."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    options = {
        "bootstrap.servers": address,
        "group.id": "check-replay",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
    }
    consumer = Consumer(options)
    skipped = {f"{prefix}{name}.v1" for name in NOT_SUNK}
    there = consumer.list_topics(timeout=15).topics
    names = [name for name in there if name.startswith(prefix) and name not in skipped]
    places = [TopicPartition(name, part, 0) for name in names for part in there[name].partitions]
    consumer.assign(places)
    counts, ended = dict.fromkeys(names, 0), 0
    deadline = time.monotonic() + READ_WITHIN_S
    while ended < len(places):
        if time.monotonic() > deadline:
            raise SystemExit(f"the topics were not read to their ends in {READ_WITHIN_S:g} s")
        for message in consumer.consume(10_000, timeout=0.2):
            error = message.error()
            if error is None:
                counts[message.topic()] += 1
            elif error.code() == KafkaError._PARTITION_EOF:
                ended += 1
            else:
                raise SystemExit(f"Kafka at {address}: {error}")
    consumer.close()
    return counts


def check_lines(
    client: Any, source: Path, before: str, said: dict[str, int] | None
) -> dict[str, Any]:
    """The account of the source lines; `said` is what the replay's report says it left out."""
    wanted, by_rule, left_out = source_lines(source, before)
    events, dead = found_lines(client)
    seen = events + dead
    account = {
        "source_lines": len(wanted) + len(left_out),
        "in_events": sum(events.values()),
        "in_dead_letters": sum(dead.values()),
        "left_out": dict(by_rule),
        "lost": len(wanted - seen.keys()),
        "duplicated": sum(count - 1 for count in seen.values()) + len(left_out & seen.keys()),
        "unknown": len(seen.keys() - wanted - left_out),
        "examples": sorted(wanted - seen.keys())[:5],
    }
    account["rules_differ"] = int(said is not None and said != dict(by_rule))
    return account


def check_topics(client: Any, address: str, prefix: str) -> list[dict[str, Any]]:
    """Per topic: readable records, stored rows (quarantined ones included), the difference."""
    readable, stored = readable_records(address, prefix), stored_records(client)
    return [
        {
            "topic": topic,
            "readable": readable[topic],
            "stored": stored.get(topic, 0),
            "difference": readable[topic] - stored.get(topic, 0),
        }
        for topic in sorted(readable)
    ]


def main() -> int:
    """Print the account as JSON; 0 when everything adds up."""
    parser = argparse.ArgumentParser(description="Check a replay of the Online Retail data.")
    parser.add_argument("source", type=Path, help="the archive, or a folder of day files")
    parser.add_argument("--clickhouse", default="http://127.0.0.1:18123/shoploop", metavar="DSN")
    parser.add_argument("--kafka", metavar="ADDRESS", help="count the topics' records as well")
    parser.add_argument("--prefix", default="shoploop.", help="what the topics' names begin with")
    parser.add_argument("--before", default="9999", metavar="DATE", help="day the replay ended at")
    parser.add_argument("--report", type=Path, help="the replay's report, for what it left out")
    chosen = parser.parse_args()
    dsn = urlsplit(chosen.clickhouse)
    client = clickhouse_connect.get_client(
        host=dsn.hostname,
        port=dsn.port or 8123,
        username=dsn.username,
        password=dsn.password or "",
        database=dsn.path.strip("/"),
        compress=False,
    )
    said = json.loads(chosen.report.read_text())["exclusions"] if chosen.report else None
    lines = check_lines(client, chosen.source, chosen.before, said)
    topics = check_topics(client, chosen.kafka, chosen.prefix) if chosen.kafka else []
    print(json.dumps({"lines": lines, "topics": topics}, indent=2))
    wrong = lines["lost"] or lines["duplicated"] or lines["unknown"] or lines["rules_differ"]
    return 1 if wrong or any(each["difference"] for each in topics) else 0


if __name__ == "__main__":
    raise SystemExit(main())
