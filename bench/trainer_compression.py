"""What smaller versions of a fine-tuned MiniLM lose and win on banking77.

The choice is made by the losses on the validation part; the test part's figures stand beside it and
decide nothing.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from bench.datasets import example_task
from bench.minilm import minilm
from trainer.compress.settings import CompressSettings
from trainer.compress.stage import PARETO, Line, compress
from trainer.corpus.build import build_corpus
from trainer.corpus.examples import Corpus
from trainer.finetune.stage import finetune
from trainer.judge.report import Report
from trainer.judge.stage import judge
from trainer.task import Task

QUICK_ROWS = 1_500
COMPRESS = CompressSettings(
    zero=(0.5,), prune=(0.5,), layers=(3,), distill=True, distill_epochs=2, distill_rows=2_000
)


def measure(data: Path, quick: bool) -> dict[str, Any]:
    """The key `compression`: a row per version, and whether the whole one passed its gate."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        task = _task(data, quick)
        corpus = _corpus(task, folder / "corpus", quick)
        print(f"compression: {len(corpus.train)} rows to train on", flush=True)
        finetune(task, corpus, minilm(), folder / "model")
        report = judge(task, corpus, folder / "model", None, folder / "judged")
        print(f"compression: gate {report.gate.reason or 'passed'}", flush=True)
        compress(task, corpus, folder / "model", folder / "variants")
        table = (folder / "variants" / PARETO).read_bytes()
        lines = msgspec.json.decode(table, type=list[Line])
    for line in lines:
        print(_told(line), flush=True)
    return {"compression": [_row(line, report) for line in lines]}


def _task(data: Path, quick: bool) -> Task:
    task = example_task(data, "banking77")
    fit = msgspec.structs.replace(task.finetune, method="full", epochs=1.0, length=64)
    small = msgspec.structs.replace(COMPRESS, distill_epochs=1) if quick else COMPRESS
    return msgspec.structs.replace(task, finetune=fit, compress=small)


def _corpus(task: Task, folder: Path, quick: bool) -> Corpus:
    corpus = build_corpus(task, folder)
    if not quick:
        return corpus
    return msgspec.structs.replace(
        corpus, train=corpus.train[:: max(1, len(corpus.train) // QUICK_ROWS)],
        test=corpus.test[::4],
    )  # fmt: skip


def _row(line: Line, report: Report) -> dict[str, Any]:
    found = line.variant
    return {
        "name": found.name,
        "chosen": found.chosen,
        "passed": found.passed,
        "reason": found.reason,
        "size_mb": round(found.size_bytes / 1e6, 1),
        "latency_ms": found.latency_ms,
        "metric": found.metric,
        "loss": round(found.loss, 4),
        "loss_low": round(found.low, 4),
        "loss_high": round(found.high, 4),
        "dominated_by": line.dominated_by,
        "test_accuracy": round(line.test["accuracy"], 4),
        "test_macro_f1": round(line.test["macro_f1"], 4),
        "gate_passed": report.gate.passed,
    }


def _told(line: Line) -> str:
    one = line.variant
    mark = "chosen" if one.chosen else one.reason or "passed"
    return (
        f"compression: {one.name:22s} {one.size_bytes / 1e6:6.1f} MB {one.latency_ms:7.2f} ms "
        f"loss {one.loss:+.4f} ({one.low:+.4f} to {one.high:+.4f}) "
        f"test {line.test['accuracy']:.4f} {mark}"
    )
