"""Events per second of the product's worker: decode and count, count and keep, join.

One worker process each time, the broker in another. Decoding is timed inside the worker, from the
first batch's begin to the last one's end. Where state and outputs are committed, the rate is taken
from the offsets the broker knows: the records between the first commit and the last, over the time
between them.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from adapters.kafka import group_name, topic_name
from bench.streams_ground import Committed, Ground, make_topics, process, wait_for, write
from bench.streams_join import join_facts
from bench.streams_shop import Arrival, Barrier, Traffic, arrivals, with_barriers
from core.settings import Settings
from schemas import topics

BARRIER_MS = 10 * 60_000
JOIN_SPAN_MS = 3 * 86_400_000
EVENTS_PER_VISIT = 6.1


@dataclass(frozen=True)
class Sizes:
    """How much is written and how long a part may take."""

    events: int = 1_000_000
    join_inputs: int = 500_000
    repeats: int = 3
    within_s: float = 90.0


def say(text: str) -> None:
    """A line of progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def fill_events(ground: Ground, sizes: Sizes, name: str = "speed") -> tuple[Settings, int]:
    """Writes events alone to a topic; where, and how many records there are."""
    settings = ground.settings(name)
    make_topics(ground, [settings.topic_prefix], [topics.EVENTS])
    visits = round(sizes.events / EVENTS_PER_VISIT)
    began_s = time.monotonic()
    counts = write(settings, [settings.topic_prefix], arrivals(Traffic(visits), answers=False))
    took_s = time.monotonic() - began_s
    say(f"{counts['events']:,} events written ({counts['repeats']:,} twice) in {took_s:.1f} s")
    return settings, counts["events"]


def decode(ground: Ground, settings: Settings, count: int, sizes: Sizes) -> dict[str, Any]:
    """Decode, validate and count: every run, and median and least of them."""
    runs = [
        _stage_run(ground, settings, ("decode", count, sizes), turn)[0]
        for turn in range(sizes.repeats)
    ]
    return _summary("decode + validate + count", runs)


def keyed(ground: Ground, settings: Settings, count: int, sizes: Sizes) -> dict[str, Any]:
    """A count per visitor, kept with the offsets; checked against the number of events."""
    runs: list[float] = []
    facts: dict[str, Any] = {}
    for turn in range(sizes.repeats):
        rate, said = _stage_run(ground, settings, ("keyed", count, sizes), turn)
        runs.append(rate)
        facts = {key: said.get("counts", {}).get(key) for key in ("visitors", "events")}
    return {**_summary("keyed and snapshotted", runs), **facts}


@dataclass(frozen=True)
class JoinTopics:
    """Where the join's inputs are, each time the same, and how many records one place holds."""

    places: list[Settings]
    counts: dict[str, int]

    @property
    def records(self) -> int:
        """Records of one place, barriers on every partition included."""
        barriers = self.counts["barriers"] * topics.VISITOR_PARTITIONS * 2
        return self.counts["events"] + self.counts["predictions"] + barriers


def fill_join(ground: Ground, sizes: Sizes) -> JoinTopics:
    """Writes events, answers and barriers over three days of event time, once for each run."""
    visits = round(sizes.join_inputs / (EVENTS_PER_VISIT + 1))
    traffic = Traffic(visits, step_ms=max(1, JOIN_SPAN_MS // visits))
    turns = range(min(sizes.repeats, 3))
    places = [ground.settings(f"join{turn}", label_ages="") for turn in turns]
    places.append(ground.settings("joinages"))
    prefixes = [each.topic_prefix for each in places]
    make_topics(ground, prefixes, topics.ALL)
    found: Iterator[Arrival | Barrier] = with_barriers(
        arrivals(traffic, answers=True), BARRIER_MS, traffic.end_ms + 3 * 86_400_000
    )
    counts = write(Settings(kafka=ground.kafka), prefixes, found)
    say(f"written for the join: {counts}")
    return JoinTopics(places, counts)


def join(ground: Ground, inputs: JoinTopics, sizes: Sizes) -> dict[str, Any]:
    """The product's visitor stage over events and answers, then a check of what it wrote.

    Peers say one thing of each answer, so the rate is that of the final statement alone; the last
    run, with every label age, is told apart.
    """
    runs, checks = [], []
    for settings in inputs.places:
        rate, complete = _join_run(ground, settings, sizes)
        runs.append(rate)
        if complete:
            checks.append(join_facts(settings))
            say(f"join check: {checks[-1]}")
    exact = bool(checks) and all(check["lost"] == check["twice"] == 0 for check in checks)
    found = {"written": inputs.counts, "check": checks[-1] if checks else None, "exact": exact}
    every_age = round(runs.pop())
    say(f"join with every label age: {every_age:,} ev/s")
    return {**_summary("join", runs), "every_age_ev_s": every_age, **found}


def committed_rate(
    total: Callable[[], int], wanted: int, holds_on: Callable[[], bool], within_s: float
) -> dict[str, Any]:
    """Records per second between the first commit seen and the last; asked every 20 ms.

    `complete` is False when the time was over, or the process, before all was committed.
    """
    first: tuple[float, int] | None = None
    last = (time.monotonic(), 0)
    deadline = time.monotonic() + within_s + 30
    while last[1] < wanted and time.monotonic() < deadline and holds_on():
        now, at = time.monotonic(), total()
        if at > last[1]:
            last = (now, at)
            if first is None:
                first, deadline = last, now + within_s
        time.sleep(0.02)
    if first is None or last[0] <= first[0]:
        return {"rate": 0.0, "complete": False, "committed": last[1]}
    rate = (last[1] - first[1]) / (last[0] - first[0])
    return {"rate": rate, "complete": last[1] >= wanted, "committed": last[1]}


def _stage_run(
    ground: Ground, settings: Settings, what: tuple[str, int, Sizes], turn: int
) -> tuple[float, dict[str, Any]]:
    stage, count, sizes = what
    short = f"{stage}{turn}"
    report = ground.folder / f"{short}.json"
    environ = ground.environ(settings) | {"SHOPLOOP_HOME": f"{settings.home}-{short}"}
    arguments = ["-m", "bench.streams_stages", stage, "--short", short]
    arguments += ["--expect", str(count), "--report", str(report)]
    with process(arguments, environ, ground.folder / f"{short}.log") as worker:
        kept: dict[str, Any] = {}
        if stage == "keyed":
            names = {topic_name(settings, topics.EVENTS): topics.EVENTS.partitions}
            group = Committed(ground.kafka, group_name(settings, short), names)
            kept = committed_rate(
                group.total, group.wanted(), lambda: worker.poll() is None, sizes.within_s
            )
            group.close()
        if not wait_for(report.exists, worker, 5 if kept else sizes.within_s):
            if not kept.get("rate"):
                said_last = (ground.folder / f"{short}.log").read_text()[-400:]
                raise RuntimeError(f"the {stage} worker did nothing in time: {said_last}")
            return float(kept["rate"]), {}
    said: dict[str, Any] = json.loads(report.read_text())
    rate = kept["rate"] if kept else said["records"] / said["seconds"]
    say(f"{stage} run {turn + 1}: {rate:,.0f} ev/s {said['counts'] if turn == 0 else ''}")
    return rate, said


def _join_run(ground: Ground, settings: Settings, sizes: Sizes) -> tuple[float, bool]:
    inputs = (topics.EVENTS, topics.PREDICTIONS)
    names = {topic_name(settings, topic): topic.partitions for topic in inputs}
    log = ground.folder / f"{settings.topic_prefix}log"
    with process(["-m", "streams", "visitors"], ground.environ(settings), log) as worker:
        group = Committed(ground.kafka, group_name(settings, "streams.visitors"), names)
        kept = committed_rate(
            group.total, group.wanted(), lambda: worker.poll() is None, sizes.within_s
        )
        group.close()
    whole = "" if kept["complete"] else f", stopped after {kept['committed']:,} records"
    say(f"join: {kept['rate']:,.0f} records/s{whole}")
    return float(kept["rate"]), bool(kept["complete"])


def _summary(name: str, runs: list[float]) -> dict[str, Any]:
    found = {"median": round(statistics.median(runs)), "min": round(min(runs))}
    say(f"{name}: median {found['median']:,} ev/s, least {found['min']:,} of {len(runs)} runs")
    return {**found, "runs": [round(run) for run in runs]}
