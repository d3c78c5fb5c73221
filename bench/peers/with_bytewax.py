"""bytewax doing the same work: `python -m bench.peers.with_bytewax decode|keyed|join`.

Batches through `flat_map_batch`, state in `stateful_batch` with recovery to SQLite, one worker.
Its Kafka sink is at-least-once: bytewax has no transactions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import bytewax.operators as op
from bytewax._bytewax import cli_main
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir

from bench.peers.work import Tally, VisitorJoin, facts_of_answer, facts_of_event, options
from schemas import topics

BATCH = 2_000
EPOCH = timedelta(seconds=1)


class _Nowhere(StatelessSinkPartition):  # type: ignore[misc]
    def write_batch(self, items: list[Any]) -> None:
        """Drops the items."""


class _Drop(DynamicSink):  # type: ignore[misc]
    def build(self, _step: str, _index: int, _count: int) -> _Nowhere:
        return _Nowhere()


class _Count(StatefulBatchLogic):  # type: ignore[misc]
    def __init__(self, known: int | None) -> None:
        self._count = known or 0

    def on_batch(self, values: list[Any]) -> tuple[Iterable[Any], bool]:
        self._count += len(values)
        return (), StatefulBatchLogic.RETAIN

    def snapshot(self) -> int:
        return self._count


class _Join(StatefulBatchLogic):  # type: ignore[misc]
    def __init__(self, known: tuple[list[Any], list[Any]] | None) -> None:
        self._join = VisitorJoin(known)

    def on_batch(self, values: list[Any]) -> tuple[Iterable[Any], bool]:
        found: list[Any] = []
        for kind, facts in values:
            step = self._join.answer if kind == "answer" else self._join.event
            found.extend(step(facts))
        return found, StatefulBatchLogic.RETAIN

    def snapshot(self) -> tuple[list[Any], list[Any]]:
        return list(self._join.answers), list(self._join.events)


def main() -> None:
    """Builds the dataflow that was asked for and runs it to the end of its topics."""
    chosen = options()
    tally = Tally(chosen)
    flow = Dataflow(chosen.name.replace(".", "_"))
    {"decode": _decode, "keyed": _keyed, "join": _join}[chosen.what](flow, chosen, tally)
    recovery = None
    if chosen.what != "decode":
        folder = chosen.folder / "recovery"
        folder.mkdir(parents=True, exist_ok=True)
        init_db_dir(folder, 1)
        recovery = RecoveryConfig(str(folder))
    cli_main(flow, workers_per_process=1, epoch_interval=EPOCH, recovery_config=recovery)
    tally.report()


def _decode(flow: Dataflow, chosen: argparse.Namespace, tally: Tally) -> None:
    def work(batch: list[Any]) -> list[Any]:
        for message in batch:
            tally.event(message.value)
        return _or_end(tally, [])

    found = op.flat_map_batch("decode", _input(flow, chosen, topics.EVENTS), work)
    op.output("out", found, _Drop())


def _keyed(flow: Dataflow, chosen: argparse.Namespace, tally: Tally) -> None:
    def work(batch: list[Any]) -> list[Any]:
        events = map(tally.event, (message.value for message in batch))
        return _or_end(tally, [(event.visitor_id, 1) for event in events if event is not None])

    keyed = op.flat_map_batch("decode", _input(flow, chosen, topics.EVENTS), work)
    op.output("out", op.stateful_batch("count", keyed, _Count), _Drop())


def _join(flow: Dataflow, chosen: argparse.Namespace, tally: Tally) -> None:
    def read(kind: str, decode: Callable[[Any], Any], facts_of: Callable[[Any], Any]) -> Any:
        def work(batch: list[Any]) -> list[Any]:
            out = []
            for message in batch:
                record = decode(message.value)
                facts = None if record is None else facts_of(record)
                if facts is not None:
                    out.append((record.visitor_id, (kind, facts)))
            return _or_end(tally, out)

        return work

    answers = op.flat_map_batch(
        "read_answers",
        _input(flow, chosen, topics.PREDICTIONS),
        read("answer", tally.answer, facts_of_answer),
    )
    events = op.flat_map_batch(
        "read_events",
        _input(flow, chosen, topics.EVENTS),
        read("event", tally.event, facts_of_event),
    )
    found = op.stateful_batch("join", op.merge("both", answers, events), _Join)
    written = op.map("write", found, _message)
    config = {"enable.idempotence": "true", "compression.type": "lz4"}
    op.output("out", written, KafkaSink([chosen.kafka], chosen.name + ".out", config))


def _message(pair: tuple[str, Any]) -> Any:
    visitor, outcome = pair
    return KafkaSinkMessage(visitor.encode(), json.dumps(outcome).encode())


def _input(flow: Dataflow, chosen: argparse.Namespace, topic: topics.Topic) -> Any:
    source = KafkaSource(
        [chosen.kafka], [topic.full_name(chosen.prefix)], tail=False, batch_size=BATCH
    )
    return op.input(topic.name, flow, source)


def _or_end(tally: Tally, out: list[Any]) -> list[Any]:
    if tally.over:
        tally.check()
    return out


if __name__ == "__main__":
    main()
