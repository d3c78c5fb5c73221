"""Teaches a smaller model to answer like the whole one, from texts alone.

What the teacher says and holds of each text is computed once. The student began as the teacher's
own layers and follows its softened answers and the vectors of the layers it kept.

*Source:* Hinton, Vinyals, Dean 2015 (softened answers); Jiao et al. 2020, TinyBERT (layers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from trainer.compress.settings import CompressSettings
from trainer.finetune.model import TextModel, padded
from trainer.pretrain.encoder import pad_id, pool

ALIGNMENT = 0.1
"""Weight of the vectors beside the answers."""
BATCH_ROWS = 32
WARM_SHARE = 0.1


@dataclass(frozen=True)
class Taught:
    """The teacher's answers (n, outputs) and its vectors (n, layers kept, width)."""

    answers: torch.Tensor
    vectors: torch.Tensor


def distill(
    teacher: TextModel,
    student: TextModel,
    tokens: Sequence[Sequence[int]],
    kept: Sequence[int],
    settings: CompressSettings,
    seed: int,
) -> TextModel:
    """Trains the student in place on these texts and gives it back in evaluation mode.

    `kept` says after which of the teacher's layers (from 0) each student layer is to be.
    """
    taught = _teach(teacher, tokens, kept)
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(student.parameters(), settings.distill_learning_rate)
    per_epoch = -(-len(tokens) // BATCH_ROWS)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate(per_epoch * settings.distill_epochs))
    student.train()
    for _ in range(settings.distill_epochs):
        for at in _batches([len(one) for one in tokens], random):
            loss = _loss(student, [tokens[i] for i in at], taught, at, settings)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            rates.step()
    student.eval()
    return student


def _teach(teacher: TextModel, tokens: Sequence[Sequence[int]], kept: Sequence[int]) -> Taught:
    teacher.eval()
    order = np.argsort([len(one) for one in tokens], kind="stable")
    answers = torch.empty((len(tokens), teacher.card.outputs))
    vectors = torch.empty((len(tokens), len(kept), teacher.encoder.width))
    with torch.no_grad():
        for start in range(0, len(order), BATCH_ROWS):
            at = order[start : start + BATCH_ROWS]
            said, held = _run(teacher, [tokens[i] for i in at])
            answers[at] = said
            vectors[at] = held[:, list(kept)]
    return Taught(answers, vectors)


def _run(model: TextModel, tokens: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Raw answers (batch, outputs) and the pooled vector of every layer (batch, layers, width)."""
    ids, mask = padded(tokens, pad_id(model.tokenizer))
    found = model.network(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    pooled = [pool(one, mask, model.card.pooling) for one in found.hidden_states[1:]]
    last = pool(found.last_hidden_state, mask, model.card.pooling)
    return model.head(last), torch.stack(pooled, dim=1)


def _loss(
    student: TextModel,
    tokens: Sequence[Sequence[int]],
    taught: Taught,
    at: Any,
    settings: CompressSettings,
) -> Any:
    said, held = _run(student, tokens)
    wanted = taught.answers[at]
    aligned = functional.mse_loss(held, taught.vectors[at])
    scale = taught.vectors.var()
    if student.card.kind == "regress":
        return functional.mse_loss(said, wanted) + ALIGNMENT * aligned / scale
    heat = settings.distill_temperature
    soft = functional.kl_div(
        functional.log_softmax(said / heat, dim=1),
        functional.log_softmax(wanted / heat, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return heat * heat * soft + ALIGNMENT * aligned / scale


def _batches(lengths: list[int], random: np.random.Generator) -> list[Any]:
    """Batches of texts of like length, in random order."""
    mixed = np.asarray(lengths) + random.uniform(-2, 2, len(lengths))
    order = np.argsort(mixed)
    batches = [order[i : i + BATCH_ROWS] for i in range(0, len(order), BATCH_ROWS)]
    return [batches[int(i)] for i in random.permutation(len(batches))]


def _rate(steps: int) -> Any:
    warm = max(1, int(WARM_SHARE * steps))

    def rate(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return max(0.0, (steps - step) / max(1, steps - warm))

    return rate
