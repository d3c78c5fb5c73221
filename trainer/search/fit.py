"""Fits the bi-encoder and the cross-encoder on judged lists: a step is a few lists of products."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from trainer.pretrain.encoder import encode_batch
from trainer.search.judged import Judged, Places
from trainer.search.losses import graded, in_batch, pairwise
from trainer.search.networks import PairModel, VectorModel, computing
from trainer.search.settings import SearchSettings

BIAS = 8.0
"""Taken from a scaled cosine before it is read as a logit: cosine 0.4 at scale 20 is even odds."""
_log = logging.getLogger(__name__)
Loss = Callable[[Places], Tensor]


def fit_vectors(model: VectorModel, judged: Judged, settings: SearchSettings, seed: int) -> float:
    """Fits a bi-encoder in place and returns the last epoch's mean loss."""
    grades, weights = _targets(judged)
    scale = settings.vector_scale

    def loss(rows: Places) -> Tensor:
        asked, of_list = np.unique(judged.query_of[rows], return_inverse=True)
        lists = torch.from_numpy(of_list)
        queries = [judged.queries[q] for q in asked]
        titles = [judged.titles[i] for i in rows]
        with computing(settings.precision):
            spoken = model(*encode_batch(model.encoder, queries, length=settings.query_length))
            offered = model(*encode_batch(model.encoder, titles, length=settings.product_length))
        spoken, offered = spoken.float(), offered.float()
        scores = (spoken[lists] * offered).sum(1) * scale
        found = pairwise(scores, grades[rows], lists, weights[rows])
        if len(asked) > 1:
            found = found + in_batch(spoken, offered, lists, grades[rows], scale) / 2
        return found + graded(scores - BIAS, grades[rows], weights[rows]) / 2

    return _fit(model, loss, judged, settings, (settings.vector_epochs, settings.vector_rate, seed))


def fit_pairs(model: PairModel, judged: Judged, settings: SearchSettings, seed: int) -> float:
    """Fits a cross-encoder in place and returns the last epoch's mean loss."""
    grades, weights = _targets(judged)

    def loss(rows: Places) -> Tensor:
        queries = [judged.queries[judged.query_of[i]] for i in rows]
        titles = [judged.titles[i] for i in rows]
        tokens = encode_batch(model.encoder, queries, titles, settings.pair_length)
        with computing(settings.precision):
            logits = model(*tokens)[:, 0]
        logits = logits.float()
        lists = torch.from_numpy(judged.query_of[rows])
        return pairwise(logits, grades[rows], lists, weights[rows]) + graded(
            logits, grades[rows], weights[rows]
        )

    return _fit(model, loss, judged, settings, (settings.pair_epochs, settings.pair_rate, seed))


def batches(
    judged: Judged, settings: SearchSettings, random: np.random.Generator
) -> Iterator[Places]:
    """An epoch: every row once, in lists of about `group` products of one query."""
    lists: list[Places] = []
    for rows in judged.by_query():
        mixed = random.permutation(rows)
        lists += np.array_split(mixed, max(1, round(len(mixed) / settings.group)))
    order = random.permutation(len(lists))
    for start in range(0, len(order), settings.lists):
        yield np.concatenate([lists[i] for i in order[start : start + settings.lists]])


def _fit(
    model: nn.Module,
    loss: Loss,
    judged: Judged,
    settings: SearchSettings,
    plan: tuple[int, float, int],
) -> float:
    epochs, rate, seed = plan
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    _freeze(model, settings.frozen_layers)
    parameters = [one for one in model.parameters() if one.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, lr=rate, weight_decay=settings.weight_decay, fused=True
    )
    steps = max(1, epochs * sum(1 for _ in batches(judged, settings, np.random.default_rng(seed))))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _share(step / steps, settings.warm_up)
    )
    mean = 0.0
    model.train()
    for epoch in range(epochs):
        started, seen = time.perf_counter(), []
        for rows in batches(judged, settings, random):
            optimiser.zero_grad()
            value = loss(rows)
            value.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            seen.append(value.item())
        mean = float(np.mean(seen))
        _log.info("epoch %d: loss %.4f in %.0f s", epoch, mean, time.perf_counter() - started)
    model.eval()
    return mean


def _share(done: float, warm_up: float) -> float:
    """Part of the learning rate: up over the first steps, then down to nothing."""
    if done < warm_up:
        return max(0.05, done / warm_up)
    return max(0.0, (1.0 - done) / (1.0 - warm_up))


def _freeze(model: nn.Module, layers: int) -> None:
    """Keeps the words' vectors and the lowest layers as they are; for networks of BERT's shape.

    The vectors are half of MiniLM's weights: to update them would double the cost of a step. The
    highest layer is always fitted.
    """
    network = model.network
    network.get_input_embeddings().requires_grad_(False)
    below = min(layers, len(network.encoder.layer) - 1) if layers else 0
    if below:
        network.embeddings.requires_grad_(False)
        network.encoder.layer[:below].requires_grad_(False)


def _targets(judged: Judged) -> tuple[Tensor, Tensor]:
    """Grades brought to [0, 1], and the weights, as float32 by row."""
    highest = max(float(judged.grades.max(initial=0.0)), 1e-9)
    grades = torch.from_numpy((judged.grades / highest).astype(np.float32))
    return grades, torch.from_numpy(judged.weights.astype(np.float32))
