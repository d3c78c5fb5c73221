"""The pretrain stage: from a corpus to an encoder's directory."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import torch

from schemas.errors import InvalidEvent
from trainer.corpus.examples import Corpus
from trainer.pretrain.blocks import token_line
from trainer.pretrain.device import joined_processes
from trainer.pretrain.encoder import Encoder, load_encoder, save_encoder
from trainer.pretrain.loop import Fitted, OnStep, fit, in_silence, make_plan
from trainer.pretrain.networks import objective_of, starting_encoder
from trainer.pretrain.settings import PretrainSettings
from trainer.processes import rank, wait_for_all
from trainer.task import Task

LONGEST_TEXT = 512
LAST_SHARE = 0.1


def pretrain(task: Task, corpus: Corpus, folder: Path) -> dict[str, float]:
    """Writes the encoder to `folder`; its figures are losses, steps, tokens and speed.

    Only texts of the training and unlabelled parts are read, never a label. A run that was killed
    goes on from `folder`'s checkpoint and ends with the same bytes, given as many threads: torch
    adds up in another order with another number of them.

    Raises:
        BadSettings: the start directory cannot be used, or not for this objective.
        InvalidEvent: there is no text to train on.
    """
    start = task.path(task.pretrain.start)
    if task.pretrain.objective == "none":
        save_encoder(load_encoder(start), folder)
        return {}
    texts = corpus.texts()
    if not texts:
        raise InvalidEvent("corpus", "there is no text to pre-train on")
    log = folder.parent / "tensorboard" / "pretrain"
    with joined_processes(), torch.random.fork_rng():
        torch.manual_seed(task.seed)
        encoder = starting_encoder(task.pretrain, texts, start)
        with _scalars(log if rank() == 0 else None) as on_step:
            fitted = _fit(task, encoder, texts, folder, on_step)
        if rank() == 0:
            save_encoder(encoder, folder)
            shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        wait_for_all()
    return _figures(fitted)


def _fit(
    task: Task,
    encoder: Encoder,
    texts: list[str],
    folder: Path,
    on_step: OnStep,
) -> Fitted:
    objective = objective_of(task.pretrain, encoder)
    line = token_line(encoder.tokenizer, texts, min(LONGEST_TEXT, encoder.longest))
    digest = _digest(task.pretrain, task.seed, texts, encoder)
    plan = make_plan(task.pretrain, task.seed, digest, len(line.tokens))
    fitted = fit(objective, line, plan, folder / "checkpoint" / "state.safetensors", on_step)
    encoder.network.to("cpu").eval()
    return fitted


def _digest(settings: PretrainSettings, seed: int, texts: list[str], encoder: Encoder) -> str:
    """Names what a training is told: a checkpoint of anything else is not gone on from."""
    found = hashlib.sha256(msgspec.json.encode([settings, seed, texts]))
    found.update(encoder.tokenizer.to_str().encode())
    for name, tensor in encoder.network.state_dict().items():
        found.update(name.encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def _figures(fitted: Fitted) -> dict[str, float]:
    last = max(1, round(LAST_SHARE * len(fitted.losses)))
    return {
        "first_loss": fitted.losses[0],
        "last_loss": sum(fitted.losses[-last:]) / last,
        "steps": float(len(fitted.losses)),
        "tokens": float(fitted.tokens),
        "tokens_s": fitted.tokens / max(fitted.wall_s, 1e-9),
    }


@contextmanager
def _scalars(folder: Path | None) -> Iterator[OnStep]:
    """Writes each step's loss and rate to TensorBoard; nothing without a folder."""
    if folder is None:
        yield in_silence
        return
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))

    def write(step: int, loss: float, rate: float) -> None:
        writer.add_scalar("pretrain/loss", loss, step)
        writer.add_scalar("pretrain/rate", rate, step)

    try:
        yield write
    finally:
        writer.close()
