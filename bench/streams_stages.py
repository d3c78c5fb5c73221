"""Two stages for the measurements, in the product's own worker: decode and count, count and keep.

`python -m bench.streams_stages STAGE --expect N --report FILE` is one worker process: Faust, pump,
transport and store are the product's. It reports once N records were worked through.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from core.event_rules import check, limits_of
from core.settings import Settings, parse
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import InvalidEvent
from schemas.topics import Topic
from streams.app import Worker
from streams.stage import Record
from streams.store import Changes, Store

_COUNT = "count"
_pack = msgspec.msgpack.Encoder().encode


class DecodeStage:
    """Decodes and validates each event and counts it by name."""

    gather_s = 0.0
    journaled = False
    inputs: tuple[Topic, ...] = (topics.EVENTS,)

    def __init__(self, settings: Settings, short: str, expect: int, report: Path) -> None:
        self.process = self.short = short
        self._limits = limits_of(settings)
        self._decode = Decoder(topics.EVENTS.record)
        self._expect = expect
        self._report = report
        self._began_s = 0.0
        self._read = 0
        self.counts: Counter[str] = Counter()

    def load(self, store: Store, partitions: list[int]) -> None:
        """Begins anew: what was counted before is of no use here."""

    def step(self, records: list[Record], wall_ms: int, live: bool) -> Changes:
        """Works through a batch and notes when the first began and the last ended."""
        del live
        if not records:
            return Changes()
        if not self._began_s:
            self._began_s = time.monotonic()
        self._work(records, wall_ms)
        self._read += len(records)
        if self._read >= self._expect:
            self._say(time.monotonic())
        return Changes()

    def closed(self) -> dict[int, int]:
        """Nothing: no event time here."""
        return {}

    def repeat(self, until: dict[int, int]) -> None:
        """Nothing: no event time here."""

    def checkpoint(self, changes: Changes) -> Iterator[None]:
        """Nothing is kept but the offsets."""
        del changes
        return iter(())

    def changed(self) -> int:
        """Nothing."""
        return 0

    def counters(self) -> dict[str, float]:
        """Events by name."""
        return {f'events_total{{name="{name}"}}': float(n) for name, n in self.counts.items()}

    def _work(self, records: list[Record], wall_ms: int) -> None:
        decode, counts, limits = self._decode, self.counts, self._limits
        for record in records:
            try:
                event = decode(record.value())
                check(event, wall_ms, limits)
            except InvalidEvent as error:
                counts[error.reason] += 1
                continue
            counts[type(event).__name__] += 1

    def _say(self, ended_s: float) -> None:
        said = {
            "records": self._read,
            "seconds": ended_s - self._began_s,
            "began_s": self._began_s,
            "counts": dict(self.counts),
        }
        unfinished = self._report.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(said))
        unfinished.replace(self._report)


class KeyedStage(DecodeStage):
    """Also keeps a count per visitor, written to the worker's store as the visitor stage's are."""

    journaled = True

    def load(self, store: Store, partitions: list[int]) -> None:
        """Takes up the counts as the store has them."""
        self._touched: set[tuple[int, str]] = set()
        self._visitors: dict[int, dict[str, int]] = {
            number: {
                key: msgspec.msgpack.decode(value) for key, value, _ in store.rows(number, _COUNT)
            }
            for number in partitions
        }

    def checkpoint(self, changes: Changes) -> Iterator[None]:
        """The counts that changed since the last one."""
        for number, visitor in self._touched:
            changes.put((number, _COUNT, visitor), _pack(self._visitors[number][visitor]), 0)
        self._touched.clear()
        return iter(())

    def changed(self) -> int:
        """How many visitors' counts would be written."""
        return len(self._touched)

    def _work(self, records: list[Record], wall_ms: int) -> None:
        decode, counts, limits = self._decode, self.counts, self._limits
        touched = self._touched
        for record in records:
            try:
                event = decode(record.value())
                check(event, wall_ms, limits)
            except InvalidEvent as error:
                counts[error.reason] += 1
                continue
            number, visitor = record.partition(), event.visitor_id
            kept = self._visitors[number]
            kept[visitor] = kept.get(visitor, 0) + 1
            touched.add((number, visitor))

    def _say(self, ended_s: float) -> None:
        self.counts["visitors"] = sum(map(len, self._visitors.values()))
        self.counts["events"] = sum(sum(kept.values()) for kept in self._visitors.values())
        super()._say(ended_s)


STAGES: dict[str, Any] = {"decode": DecodeStage, "keyed": KeyedStage}


def main(arguments: list[str] | None = None) -> int:
    """One worker with one of the stages, until a signal."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("stage", choices=sorted(STAGES))
    reader.add_argument("--short", required=True, help="the group's short name")
    reader.add_argument("--expect", type=int, required=True, help="how many records there are")
    reader.add_argument("--report", type=Path, required=True, help="where the result goes")
    chosen = reader.parse_args(arguments)
    settings = parse(os.environ)
    worker = Worker(settings, ())
    worker._add(STAGES[chosen.stage](settings, chosen.short, chosen.expect, chosen.report))
    return worker.run()


if __name__ == "__main__":
    sys.exit(main())
