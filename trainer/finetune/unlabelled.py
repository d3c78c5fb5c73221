"""Guesses on unlabelled texts that are sure enough to train on."""

from __future__ import annotations

import numpy as np
import torch

from schemas.errors import BadSettings
from trainer.finetune.losses import thinned
from trainer.finetune.model import TextModel, run_rows
from trainer.finetune.rows import Rows
from trainer.finetune.settings import FinetuneSettings


def pseudo_labelled(
    model: TextModel, train: Rows, bare: list[list[int]], how: FinetuneSettings
) -> Rows:
    """The rows, with those unlabelled ones whose guess is confident and survives thinning.

    *Source:* Lee, Pseudo-Label, 2013; the agreement asked for is that of Xie et al., UDA, 2020.

    Raises:
        BadSettings: a number is no label to be confident of.
    """
    if model.card.kind != "classify":
        raise BadSettings("unlabelled = pseudo needs labels: the task's kind is regress")
    whole = run_rows(model, model.raw, bare)
    again = run_rows(model, model.raw, thinned(bare, (0, 0))).argmax(1)
    chances = torch.from_numpy(whole).softmax(1).numpy()
    guessed = chances.argmax(1)
    kept = np.flatnonzero((chances.max(1) >= how.confidence) & (guessed == again))
    weights = np.full(len(kept), how.unlabelled_weight, dtype=np.float32)
    return Rows(
        [*train.tokens, *(bare[at] for at in kept)],
        np.concatenate([train.targets, guessed[kept].astype(np.int64)]),
        np.concatenate([train.weights, weights]),
    )
