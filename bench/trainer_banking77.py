"""Customer-service intents (banking77): the pipeline's accuracy, and LoRA's beside full tuning.

The encoder is MiniLM, pre-trained further here on the training texts. Settings were chosen on rows
held out of the training file; the test file is looked at once, at the end.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.datasets import unpacked
from bench.minilm import minilm
from trainer.corpus.examples import Corpus, Example, labels_of
from trainer.finetune.model import TextModel
from trainer.finetune.score import macro_f1
from trainer.finetune.settings import FinetuneSettings
from trainer.finetune.stage import finetune
from trainer.pretrain.settings import PretrainSettings
from trainer.pretrain.stage import pretrain
from trainer.task import Task

VALID_ROWS = 1_000
QUICK_ROWS = 1_500
PRETRAIN = PretrainSettings(length=64, epochs=0.1, batch_tokens=2_048, learning_rate=5e-5)
SHARED: dict[str, Any] = {"length": 64, "epochs": 0.5, "train_embeddings": False}
METHODS = {
    "full": FinetuneSettings(method="full", learning_rate=5e-5, **SHARED),
    "lora": FinetuneSettings(method="lora", tuning_rate=1e-3, **SHARED),
}


def measure(data: Path, quick: bool) -> dict[str, Any]:
    """`banking77`: accuracy and macro-F1 of full tuning on the test file, and LoRA's gap to it."""
    corpus = _corpus(unpacked(data, "banking77"), quick)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = msgspec.structs.replace(PRETRAIN, start=str(minilm()))
        task = Task(task="banking77", kind="classify", pretrain=start)
        print(f"pre-training: {pretrain(task, corpus, folder / 'encoder')}", flush=True)
        for method, how in METHODS.items():
            tuned = Task(task="banking77", kind="classify", finetune=how)
            said = finetune(tuned, corpus, folder / "encoder", folder / method)
            print(f"{method}, validation: {said}", flush=True)
            found[method] = _guesses(TextModel.load(folder / method), corpus)
    wanted = np.asarray([corpus.labels.index(one.label) for one in corpus.test])
    accuracy = {method: float((guess == wanted).mean()) for method, guess in found.items()}
    print(f"test accuracy over {len(wanted)} questions: {accuracy}", flush=True)
    return {
        "banking77": {
            "accuracy": round(accuracy["full"], 4),
            "macro_f1": round(macro_f1(found["full"], wanted), 4),
            "lora_gap": round(accuracy["full"] - accuracy["lora"], 4),
        }
    }


def _guesses(model: TextModel, corpus: Corpus) -> Any:
    return model.logits(corpus.test).argmax(1)


def _corpus(folder: Path, quick: bool) -> Corpus:
    rows = _read(folder / "train.csv")
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = [rows[at] for at in order]
    train, valid = shuffled[:-VALID_ROWS], shuffled[-VALID_ROWS:]
    if quick:
        train, valid = train[:QUICK_ROWS], valid[: QUICK_ROWS // 5]
    return Corpus(
        train=train, valid=valid, test=_read(folder / "test.csv"), labels=labels_of(shuffled)
    )


def _read(path: Path) -> list[Example]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Example(example_id=f"{path.stem}-{at}", text=row["text"], label=row["category"])
            for at, row in enumerate(csv.DictReader(file))
        ]
