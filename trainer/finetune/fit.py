"""The loop of a fine-tuning: steps, checks on the validation part, averages, early stopping."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.finetune import workers
from trainer.finetune.checkpoint import (
    Progress,
    optimizer_tensors,
    read_checkpoint,
    set_optimizer,
    write_checkpoint,
)
from trainer.finetune.kept import Kept
from trainer.finetune.losses import Batch, Step
from trainer.finetune.methods import Trained
from trainer.finetune.model import TextModel, has_bf16, padded, run_rows
from trainer.finetune.rates import factor, make_optimizer, set_rates
from trainer.finetune.rows import Rows, epoch_batches
from trainer.finetune.score import score
from trainer.finetune.settings import FinetuneSettings
from trainer.pretrain.encoder import pad_id
from trainer.processes import rank, wait_for_all, world

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """What is fitted to; `difficulty` orders the first epoch, `bare` are unlabelled texts."""

    train: Rows
    valid: Rows
    bare: list[list[int]]
    difficulty: NDArray[np.float64] | None = None


def fit(
    model: TextModel,
    material: Material,
    how: FinetuneSettings,
    seed: int,
    resume: tuple[Path, str],
) -> Progress:
    """Fits the model in place; `resume` is the checkpoint's path and fingerprint."""
    return _Fit(model, material, how, seed, resume).run()


def uses_bf16(how: FinetuneSettings, device: torch.device) -> bool:
    """Whether the settings and the device ask for bf16."""
    return how.precision == "bf16" or (how.precision == "auto" and has_bf16(device))


class _Fit:
    def __init__(
        self,
        model: TextModel,
        material: Material,
        how: FinetuneSettings,
        seed: int,
        resume: tuple[Path, str],
    ) -> None:
        self.model, self.material, self.how, self.seed = model, material, how, seed
        self.path, self.fingerprint = resume
        self.rank, self.world = rank(), world()
        self.per_epoch = -(-len(self._batches(0)) // self.world)
        self.total = max(1, round(how.epochs * self.per_epoch))
        self.every = max(1, round(how.check_every * self.per_epoch))
        torch.manual_seed(seed * 1000 + self.rank)
        self.trained = Trained(model, how, self.total)
        self.bf16 = uses_bf16(how, model.device)
        self.step = Step(model, how, self.bf16, self.trained.penalty)
        self.optimizer = make_optimizer(model, how)
        self.progress = Progress()
        self.kept = Kept(model, how)
        self.losses: list[float] = []

    def run(self) -> Progress:
        """From the checkpoint, if there is one, to the end."""
        self._resume()
        self.model.train()
        while self.progress.step < self.total and not self._stopped():
            self._one_step()
            if self.progress.step % self.every == 0 or self.progress.step == self.total:
                self._check()
        if self.how.keep_best and self.kept.best:
            self.kept.set(self.kept.best)
        self.trained.end()
        self.model.eval()
        return self.progress

    def _one_step(self) -> None:
        step = self.progress.step
        rows = self._rows_of(step)
        set_rates(self.optimizer, factor(step, self.total, self.how.warmup, self.how.decay))
        bare, seed = self._bare(step), (self.seed, step)
        self.losses.append(self.step.gradients(self._batch(rows), bare, seed))
        workers.mean_gradients(self.model.parameters())
        moved = [one for one in self.model.parameters() if one.grad is not None]
        torch.nn.utils.clip_grad_norm_(moved, self.how.largest_norm)
        self.optimizer.step()
        self.trained.stepped(step)
        self.optimizer.zero_grad()
        self.progress.step += 1
        self.kept.after_step(step)

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        lengths = np.asarray([len(one) for one in self.material.train.tokens], dtype=np.int64)
        hardness = self.material.difficulty if epoch == 0 else None
        return epoch_batches(lengths, self.how.batch_rows, (self.seed, epoch), hardness)

    def _rows_of(self, step: int) -> NDArray[np.int64]:
        epoch, at = divmod(step, self.per_epoch)
        if not hasattr(self, "_drawn") or self._drawn[0] != epoch:
            self._drawn: tuple[int, Any] = epoch, self._batches(epoch)
        found = self._drawn[1]
        rows: NDArray[np.int64] = found[(at * self.world + self.rank) % len(found)]
        return rows

    def _batch(self, rows: NDArray[np.int64]) -> Batch:
        train, device = self.material.train, self.model.device
        ids, mask = padded([train.tokens[at] for at in rows], pad_id(self.model.tokenizer), device)
        targets, weights = train.targets[rows], train.weights[rows]
        return Batch(
            ids, mask, torch.tensor(targets, device=device), torch.tensor(weights, device=device)
        )

    def _bare(self, step: int) -> list[list[int]]:
        bare = self.material.bare
        if not bare:
            return []
        random = np.random.default_rng((self.seed, step, self.rank))
        return [bare[at] for at in random.integers(0, len(bare), self.how.batch_rows)]

    def _check(self) -> None:
        """Judges the weights that would be kept, and writes the checkpoint."""
        if self.how.average == "swa" and 2 * self.progress.step > self.total:
            self.progress.averaged += 1
            self.kept.at_check(self.progress.averaged)
        now = self.kept.now()
        self.kept.set(self.kept.mean or now)
        self._judge()
        self.kept.set(now)
        if self.rank == 0:
            parts = {"weights": now, "best": self.kept.best, "mean": self.kept.mean}
            parts |= {"optimizer": optimizer_tensors(self.optimizer)}
            parts |= {"method": self.trained.state(), "random": {"cpu": torch.get_rng_state()}}
            write_checkpoint(self.path, self.fingerprint, self.progress, parts)
        wait_for_all()

    def _judge(self) -> None:
        progress, valid = self.progress, self.material.valid
        outputs = run_rows(self.model, self.model.raw, valid.tokens, bf16=self.bf16)
        found = score(self.model.card.kind, outputs, valid.targets) if len(valid) else 0.0
        progress.losses.append(float(np.mean(self.losses)))
        progress.scores.append(found)
        self.losses = []
        if progress.best is None or found > progress.best or not len(valid):
            progress.best, progress.since_best = found, 0
            self.kept.best = self.kept.now()
        else:
            progress.since_best += 1
        log.info(
            "step %d of %d: loss %.4f, score %.4f",
            *(progress.step, self.total, progress.losses[-1], found),
        )

    def _stopped(self) -> bool:
        return 0 < self.how.patience <= self.progress.since_best

    def _resume(self) -> None:
        found = read_checkpoint(self.path, self.fingerprint)
        if found is None:
            return
        self.progress, parts = found
        self.kept.set(parts["weights"])
        self.kept.best, self.kept.mean = parts.get("best", {}), parts.get("mean", {})
        set_optimizer(self.optimizer, parts["optimizer"])
        self.trained.set_state(parts.get("method", {}))
        if self.world == 1:
            torch.set_rng_state(parts["random"]["cpu"])
        else:  # each process draws its own dropout; by seed and step, so all know it
            torch.manual_seed((self.seed + self.progress.step) * 1000 + self.rank)
        log.info("going on from step %d of %d", self.progress.step, self.total)
