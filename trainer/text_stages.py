"""One function per stage of a text task, from the run's folder to a folder of its own.

All that needs torch hangs from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import torch
from transformers.utils.logging import disable_progress_bar

from trainer.compress.stage import compress
from trainer.corpus.build import build_corpus
from trainer.corpus.examples import PARTS, Corpus, read_corpus
from trainer.explain.report import Explained, write_explained
from trainer.explain.tokens import top_tokens
from trainer.finetune.model import TextModel
from trainer.finetune.stage import finetune
from trainer.judge.stage import judge
from trainer.pretrain.stage import pretrain
from trainer.search.judge import judge_search
from trainer.search.stage import fit_search
from trainer.text_run import TUNING
from trainer.tune.text import tuned_task

if TYPE_CHECKING:
    from trainer.text_run import TextRun

EXPLAINED, VALUE = 50, "value"
Figures = dict[str, float]


def _read(run: TextRun, work: Path) -> Figures:
    corpus = build_corpus(run.task, work, run.settings)
    return {part: float(len(getattr(corpus, part))) for part in PARTS}


def _pretrained(run: TextRun, work: Path) -> Figures:
    _set_up(run)
    return pretrain(run.task, read_corpus(run.run.corpus), work)


def _searched(run: TextRun, work: Path) -> Figures:
    _set_up(run)
    corpus = read_corpus(run.run.corpus)
    study = tuned_task(run.task, corpus, run.run.encoder, work / "trials", run.search)
    (work / TUNING).write_bytes(msgspec.json.format(msgspec.json.encode(study)))
    best = max(one.score for one in study.trials if one.score is not None)
    return {"trials": float(len(study.trials)), "champion": study.champion_score, "best": best}


def _finetuned(run: TextRun, work: Path) -> Figures:
    _set_up(run)
    fit = fit_search if run.task.kind == "search" else finetune
    return fit(run.task, read_corpus(run.run.corpus), run.run.encoder, work)


def _judged(run: TextRun, work: Path) -> Figures:
    _set_up(run)
    champion = run.champion.folder if run.champion is not None else None
    corpus = read_corpus(run.run.corpus)
    of_kind = judge_search if run.task.kind == "search" else judge
    report = of_kind(run.task, corpus, run.run.model, champion, work)
    _explain(run, corpus, work)
    return {**report.figures, "gate_passed": float(report.gate.passed)}


def _explain(run: TextRun, corpus: Corpus, work: Path) -> None:
    """Writes explain.json: what speaks most for each label, or for a greater number.

    A search model has no labels, and a prefix's tokens are no words of a text.
    """
    if run.task.kind == "search" or run.task.finetune.method == "prefix":
        return
    # Texts of one label may stand together: taken evenly apart, all labels have their share.
    rows = sorted(corpus.test or corpus.valid, key=lambda one: one.label or "")
    some = rows[:: max(1, -(-len(rows) // EXPLAINED))]
    tops = top_tokens(TextModel.load(run.run.model), some)
    tokens = {label or VALUE: shares for label, shares in tops.items()}
    write_explained(Explained(tokens=tokens), work)


def _compressed(run: TextRun, work: Path) -> Figures:
    _set_up(run)
    corpus = read_corpus(run.run.corpus)
    variants = compress(run.task, corpus, run.run.model, work)
    return {"variants": float(len(variants)), "passed": float(sum(v.passed for v in variants))}


def _set_up(run: TextRun) -> None:
    """One thread unless the operator wants more, and one bar: that of the stages."""
    torch.set_num_threads(run.settings.threads)
    disable_progress_bar()


MAKERS: Mapping[str, Callable[[TextRun, Path], Figures]] = {
    "corpus": _read,
    "tune": _searched,
    "pretrain": _pretrained,
    "finetune": _finetuned,
    "judge": _judged,
    "compress": _compressed,
}
