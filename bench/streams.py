"""`python -m bench streams`: the streams' speed, exactness and delay, beside their peers'.

Starts a broker and a ClickHouse of its own on free loopback ports in a temporary directory, and
ends only what it started. Each part prints what it finds; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from bench import streams_speed as speed
from bench.streams_ground import Ground, ground
from bench.streams_speed import JoinTopics, Sizes, say
from core.settings import Settings

PARTS = (
    *("decode", "keyed", "join", "faust", "quix", "bytewax"),
    *("sink", "kills", "delay", "fresh", "rss", "slot", "auc"),
)

KEYS = (
    *("decode_count_ev_s", "keyed_ev_s", "join_ev_s", "faust_loop_ev_s", "quix", "bytewax"),
    *("sink_rows_s", "kills", "lost", "duplicated", "metrics_equal"),
    *("metric_delay_ms_p99", "metric_delay_clickhouse_ms_p99", "event_delay"),
    *("worker_rss_mb", "slot_us", "auc_abs_err"),
)
"""What the last line always has; null for what was not run or failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    plain = Sizes()
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--events", type=int, default=plain.events, help="for decode and keyed")
    parser.add_argument("--join-inputs", type=int, default=plain.join_inputs)
    parser.add_argument("--repeats", type=int, default=plain.repeats, help="runs of each rate")
    parser.add_argument("--kills", type=int, default=54, help="SIGKILLs in all, at least")
    parser.add_argument("--delay-s", type=float, default=40, help="how long the live load lasts")
    parser.add_argument("--within-s", type=float, default=plain.within_s, help="longest run")


class Bench:
    """The parts that were asked for, over one broker and one topic of events."""

    def __init__(self, arguments: argparse.Namespace, stack: ExitStack) -> None:
        self._arguments = arguments
        self._stack = stack
        self._ground: Ground | None = None
        self._events: tuple[Settings, int] | None = None
        self._joined: JoinTopics | None = None
        self.sizes = Sizes(
            events=arguments.events,
            join_inputs=arguments.join_inputs,
            repeats=arguments.repeats,
            within_s=arguments.within_s,
        )

    @property
    def ground(self) -> Ground:
        """The broker, started at the first call."""
        if self._ground is None:
            self._ground = self._stack.enter_context(ground())
        return self._ground

    @property
    def events(self) -> tuple[Settings, int]:
        """The topic of events, written at the first call: its settings, its length."""
        if self._events is None:
            self._events = speed.fill_events(self.ground, self.sizes)
        return self._events

    @property
    def joined(self) -> JoinTopics:
        """The join's topics, written at the first call."""
        if self._joined is None:
            self._joined = speed.fill_join(self.ground, self.sizes)
        return self._joined

    def decode(self) -> dict[str, Any]:
        """Decode, validate, count."""
        found = speed.decode(self.ground, *self.events, self.sizes)
        return {"decode_count_ev_s": found["median"], "decode_count": found}

    def keyed(self) -> dict[str, Any]:
        """A count per visitor, kept."""
        found = speed.keyed(self.ground, *self.events, self.sizes)
        return {"keyed_ev_s": found["median"], "keyed": found}

    def join(self) -> dict[str, Any]:
        """Answers and what followed."""
        found = speed.join(self.ground, self.joined, self.sizes)
        return {"join_ev_s": found["median"], "join": found}

    def faust(self) -> dict[str, Any]:
        """Faust's own loop."""
        from bench.streams_peers import faust_loop

        rate, facts = faust_loop(self.ground, *self.events, self.sizes)
        return {"faust_loop_ev_s": round(rate), "faust": facts}

    def quix(self) -> dict[str, Any]:
        """quixstreams at the same work."""
        return self._peer("quix")

    def bytewax(self) -> dict[str, Any]:
        """bytewax at the same work."""
        return self._peer("bytewax")

    def sink(self) -> dict[str, Any]:
        """The copy into ClickHouse."""
        from bench.streams_sink import sink_rows

        sizes = self.sizes
        runs = [
            sink_rows(self.ground, sizes.events, turn, sizes.within_s)
            for turn in range(min(sizes.repeats, 2))
        ]
        best = sorted(runs, key=lambda run: float(run["rate"]))[len(runs) // 2]
        exact = all(run["exact"] for run in runs)
        rates = [round(run["rate"]) for run in runs]
        return {"sink_rows_s": round(best["rate"]), "sink": {"runs": rates, "exact": exact}}

    def kills(self) -> dict[str, Any]:
        """SIGKILLs of the worker and the sink."""
        from bench.streams_kills import kills

        return kills(self.ground, self._arguments.kills)

    def delay(self) -> dict[str, Any]:
        """From a click to the figures."""
        from bench.streams_delay import metric_delay

        return metric_delay(self.ground, self._arguments.delay_s)

    def fresh(self) -> dict[str, Any]:
        """From an event to `events.valid`, alone and beside a backlog."""
        from bench.streams_fresh import event_delay

        return {"event_delay": event_delay(self.ground)}

    def rss(self) -> dict[str, Any]:
        """A worker's resident memory."""
        from bench.streams_memory import worker_rss_mb

        found = worker_rss_mb(self.ground)
        say(f"worker without state: {found} MB resident")
        return {"worker_rss_mb": found}

    def slot(self) -> dict[str, Any]:
        """Measure, learn, detect."""
        from bench.streams_tasks import slot_us

        found = [slot_us(seed=turn) for turn in range(self.sizes.repeats)]
        say(f"per slot: {found}")
        return sorted(found, key=lambda each: float(each["slot_us"]))[len(found) // 2]

    def auc(self) -> dict[str, Any]:
        """How exact the rolling AUC is."""
        from bench.streams_tasks import auc_abs_err

        found = auc_abs_err()
        say(f"rolling AUC off by at most {found:.3g}")
        return {"auc_abs_err": found}

    def _peer(self, name: str) -> dict[str, Any]:
        from bench.streams_peers import peer

        joined = (self.joined.places[0], self.joined.records)
        places = {"decode": self.events, "keyed": self.events, "join": joined}
        return {name: peer(self.ground, name, places, self.sizes)}


def run(arguments: argparse.Namespace) -> int:
    """Runs the parts in order; 1 when one of them failed."""
    wanted = [name for name in PARTS if name in arguments.only.split(",")]
    result: dict[str, Any] = dict.fromkeys(KEYS)
    failed = False
    with ExitStack() as stack:
        bench = Bench(arguments, stack)
        for name in wanted:
            say(f"--- {name}")
            part: Callable[[], dict[str, Any]] = getattr(bench, name)
            try:
                result.update(part())
            except Exception as error:  # noqa: BLE001 - one part's failure leaves the others
                failed = True
                say(f"{name} failed: {error!r}")
                result.setdefault("errors", {})[name] = repr(error)
    print(json.dumps(result))
    return 1 if failed else 0
