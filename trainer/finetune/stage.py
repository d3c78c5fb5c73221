"""The fine-tuning stage: a corpus and an encoder's folder in, a model's folder out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from schemas.errors import BadSettings
from trainer.corpus.examples import Corpus, Example
from trainer.finetune import workers
from trainer.finetune.calibrate import best_temperature
from trainer.finetune.fit import Material, fit, uses_bf16
from trainer.finetune.methods import added_by
from trainer.finetune.model import HeadCard, TextModel, run_rows, token_ids
from trainer.finetune.rows import Rows, targets_of, weights_of
from trainer.finetune.score import macro_f1
from trainer.finetune.settings import FinetuneSettings
from trainer.finetune.soup import soup
from trainer.finetune.start import start_head
from trainer.finetune.unlabelled import pseudo_labelled
from trainer.pretrain.encoder import load_encoder
from trainer.processes import pick_device, rank, wait_for_all
from trainer.task import Task

CHECKPOINT, FEATURES = "checkpoint.safetensors", "features.safetensors"


def finetune(task: Task, corpus: Corpus, encoder_folder: Path, folder: Path) -> dict[str, float]:
    """Fits the encoder to the corpus's labels or values and writes the model into `folder`.

    A training that was killed goes on from its last checkpoint when it is called again with the
    same arguments. The figures returned are of the validation part.

    Raises:
        BadSettings: the task or the corpus cannot be fine-tuned for.
    """
    how = task.finetune
    card = _card(task, corpus)
    workers.join_workers()
    seeds = [task.seed + at for at in range(max(1, how.ensemble))]
    members = [_member(corpus, card, how, (encoder_folder, folder, seed)) for seed in seeds]
    valid = _rows(members[0], corpus.valid, how)
    model = soup(members, valid) if len(members) > 1 else members[0]
    figures = _finish(model, valid)
    if rank() == 0:
        model.save(folder)
        for seed in seeds:
            _checkpoint(folder, seed).unlink(missing_ok=True)
    wait_for_all()
    return figures


def _card(task: Task, corpus: Corpus) -> HeadCard:
    if not corpus.train:
        raise BadSettings(f"{task.task}: the corpus has no training examples")
    how = task.finetune
    if task.kind == "classify":
        return HeadCard(
            kind="classify", labels=corpus.labels, length=how.length, added=added_by(how)
        )
    if task.kind != "regress":
        raise BadSettings(f"{task.task}: a task of kind {task.kind} has no labels to fit")
    values = np.asarray([float(one.value or 0.0) for one in corpus.train])
    spread = float(values.std()) or 1.0
    return HeadCard(
        kind="regress",
        length=how.length,
        centre=float(values.mean()),
        scale=spread,
        added=added_by(how),
    )


def _member(
    corpus: Corpus, card: HeadCard, how: FinetuneSettings, where: tuple[Path, Path, int]
) -> TextModel:
    encoder_folder, folder, seed = where
    torch.manual_seed(seed)
    encoder = load_encoder(encoder_folder)
    card = msgspec.structs.replace(card, pooling=encoder.pooling)
    model = TextModel(encoder, card, how.dropout)
    model.to(pick_device())
    train, valid = _rows(model, corpus.train, how), _rows(model, corpus.valid, how)
    path, fingerprint = _checkpoint(folder, seed), _fingerprint(corpus, card, how, where)
    bf16 = uses_bf16(how, model.device)
    if how.head_start or how.method == "frozen":
        start_head(model, train, valid, bf16, folder.parent / FEATURES)
    if how.unlabelled == "pseudo" and corpus.unlabelled:
        train = pseudo_labelled(model, train, _tokens(model, corpus.unlabelled), how)
    if how.method != "frozen":
        bare = _tokens(model, corpus.unlabelled) if how.unlabelled == "consistency" else []
        hardness = _difficulty(model, train, how)
        fit(model, Material(train, valid, bare, hardness), how, seed, (path, fingerprint))
    model.eval()
    return model


def _rows(model: TextModel, examples: Sequence[Example], how: FinetuneSettings) -> Rows:
    return Rows(
        _tokens(model, examples),
        targets_of(examples, model.card),
        weights_of(examples, how.largest_weight),
    )


def _tokens(model: TextModel, examples: Sequence[Example]) -> list[list[int]]:
    return token_ids(model.encoder, examples, model.card.length)


def _difficulty(model: TextModel, train: Rows, how: FinetuneSettings) -> NDArray[np.float64] | None:
    """What the first epoch goes by, ascending: the starting head's loss, or the weight."""
    if how.curriculum == "none":
        return None
    if how.curriculum == "corrections_last":
        return train.weights.astype(np.float64)
    raw = torch.from_numpy(run_rows(model, model.raw, train.tokens))
    targets = torch.from_numpy(train.targets)
    if model.card.kind == "classify":
        loss = torch.nn.functional.cross_entropy(raw, targets, reduction="none")
    else:
        loss = (raw[:, 0] - targets).square()
    found: NDArray[np.float64] = loss.double().numpy()
    return found if how.curriculum == "easy_first" else -found


def _finish(model: TextModel, valid: Rows) -> dict[str, float]:
    """The temperature that suits the validation part best, and its figures."""
    if not len(valid):
        return {}
    raw = run_rows(model, model.raw, valid.tokens)
    if model.card.kind == "regress":
        error = (raw[:, 0] - valid.targets) * model.card.scale
        return {"valid_rmse": float(np.sqrt(np.mean(error**2)))}
    model.card = msgspec.structs.replace(
        model.card, temperature=best_temperature(raw, valid.targets)
    )
    guessed = raw.argmax(1)
    return {
        "valid_accuracy": float((guessed == valid.targets).mean()),
        "valid_macro_f1": macro_f1(guessed, valid.targets),
        "temperature": model.card.temperature,
    }


def _checkpoint(folder: Path, seed: int) -> Path:
    return folder.parent / f"{folder.name}.{seed}.{CHECKPOINT}"


def _fingerprint(
    corpus: Corpus, card: HeadCard, how: FinetuneSettings, where: tuple[Path, Path, int]
) -> str:
    made = hashlib.sha256(msgspec.json.encode((corpus, card, how, where[2])))
    for path in sorted(where[0].glob("*.safetensors")):
        made.update(path.read_bytes())
    return made.hexdigest()
