"""The training loop: same seed and texts, same bytes, killed in between or not.

All chance of a step follows from the seed and the step's number. Under torchrun each process takes
its share of every batch's blocks and gradients are averaged; the processes stay equal.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from trainer.pretrain.blocks import TokenLine, Tokens
from trainer.pretrain.checkpoint import Progress, read_checkpoint, write_checkpoint
from trainer.pretrain.device import autocast
from trainer.pretrain.objectives import Batch, Causal, Denoising, Masked
from trainer.pretrain.settings import PretrainSettings
from trainer.processes import pick_device, rank, world
from trainer.recommend.adamw import AdamW

_STEPS_PER_SEED = 10_000_019


OnStep = Callable[[int, float, float], None]
"""Is told the number, the loss and the rate of each step."""


def in_silence(_step: int, _loss: float, _rate: float) -> None:
    """Says nothing of a step."""


@dataclass(frozen=True)
class Plan:
    """How many steps of how many blocks there are; `digest` names everything that decides them."""

    settings: PretrainSettings
    seed: int
    digest: str
    length: int
    rows: int
    steps_per_epoch: int
    steps: int


@dataclass(frozen=True)
class Fitted:
    """What a training took: the loss of each step, and the speed of the steps made here."""

    losses: list[float]
    tokens: int
    wall_s: float


def make_plan(settings: PretrainSettings, seed: int, digest: str, tokens: int) -> Plan:
    """The steps over `tokens` tokens; blocks and batches shrink for a corpus smaller than one."""
    length = max(2, min(settings.length, tokens // world()))
    blocks = max(1, tokens // length)
    rows = max(1, min(settings.batch_tokens // length, blocks) // world()) * world()
    per_epoch = max(1, blocks // rows)
    steps = max(1, round(settings.epochs * per_epoch))
    most = settings.most_steps or steps
    return Plan(settings, seed, digest, length, rows, per_epoch, min(steps, most))


def rate_at(step: int, plan: Plan) -> float:
    """The learning rate of a step: up in a straight line, then down in one to zero.

    >>> plan = make_plan(PretrainSettings(warm_up=0.5, learning_rate=1.0, batch_tokens=4,
    ...     length=4), 0, "", 16)
    >>> [rate_at(step, plan) for step in range(plan.steps)]
    [0.5, 1.0, 1.0, 0.5]
    """
    warm = max(1, round(plan.settings.warm_up * plan.steps))
    rising = (step + 1) / warm
    falling = (plan.steps - step) / max(1, plan.steps - warm)
    return plan.settings.learning_rate * min(1.0, rising, falling)


def fit(
    objective: Masked | Causal | Denoising,
    line: TokenLine,
    plan: Plan,
    checkpoint: Path,
    on_step: OnStep = in_silence,
) -> Fitted:
    """Trains the objective in place, from its checkpoint where there is one of this plan."""
    device = pick_device()
    objective.to(device).train()
    optimizer = AdamW(objective.parameters())
    kept = read_checkpoint(checkpoint, plan.digest)
    losses: list[float] = list(kept[0].losses) if kept else []
    if kept:
        optimizer.resume(kept[1], kept[0].steps)
    source = _Source(line, plan)
    first, began = len(losses), time.perf_counter()
    for step in range(first, plan.steps):
        rate = rate_at(step, plan)
        with autocast(device, plan.settings.precision):
            loss = objective(source.batch(objective, step, device))
        losses.append(_descend(loss, optimizer, rate))
        on_step(step, losses[-1], rate)
        if _is_due(step + 1, plan):
            progress = Progress(plan=plan.digest, seed=plan.seed, steps=step + 1, losses=losses)
            write_checkpoint(checkpoint, progress, optimizer.vectors())
    wall_s = time.perf_counter() - began
    return Fitted(losses, (plan.steps - first) * plan.rows * plan.length, wall_s)


class _Source:
    """The batches of each step; an epoch's blocks are made when its first batch is asked for."""

    def __init__(self, line: TokenLine, plan: Plan) -> None:
        self._line, self._plan = line, plan
        self._epoch = -1
        self._blocks: Tokens = np.zeros((0, plan.length), np.int32)

    def batch(
        self, objective: Masked | Causal | Denoising, step: int, device: torch.device
    ) -> Batch:
        """This process's share of the step's batch."""
        plan = self._plan
        epoch, within = divmod(step, plan.steps_per_epoch)
        if epoch != self._epoch:
            self._blocks = self._line.blocks(plan.length, plan.seed, epoch)
            self._epoch = epoch
        rows = self._blocks[within * plan.rows : (within + 1) * plan.rows]
        mine = np.array_split(rows, world())[rank()]
        torch.manual_seed((plan.seed * _STEPS_PER_SEED + step) * world() + rank())
        drawn = objective.draw(mine, np.random.default_rng([plan.seed, step, rank()]))
        return {name: tensor.to(device, non_blocking=True) for name, tensor in drawn.items()}


def _is_due(steps: int, plan: Plan) -> bool:
    """Whether this process writes a checkpoint after so many steps."""
    return rank() == 0 and steps < plan.steps and steps % plan.settings.checkpoint_steps == 0


def _descend(loss: torch.Tensor, optimizer: AdamW, rate: float) -> float:
    """Steps down the gradient, averaged over the processes; gives their mean loss."""
    loss.backward()
    shared = loss.detach()
    if world() > 1:
        both = torch.cat([optimizer.slopes, shared.reshape(1)])
        dist.all_reduce(both)
        both.div_(world())
        optimizer.slopes.copy_(both[:-1])
        shared = both[-1]
    optimizer.step(rate)
    return float(shared)
