"""A smaller network that is taught the larger one's states instead of the shop's data.

The student keeps the directions in which the teacher's item table varies most. Its table is the
teacher's in those directions, and it learns to say, place by place, what the teacher's state is in
them. So a step costs nothing that grows with the catalogue.

*Source:* Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015; here the
match is of states rather than of answers, as in Jiao et al., TinyBERT, 2020.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from core.item_text import TEXT_WIDTH
from trainer.recommend.adamw import AdamW
from trainer.recommend.fit import SequenceModel
from trainer.recommend.model import SequenceNetwork

WIDTH = 32
EPOCHS = 4
BATCH_ROWS = 128
RATE = 5e-3
MOST_HISTORIES = 2_000


def student_of(
    teacher: SequenceModel, histories: Sequence[Sequence[str]], seed: int, width: int = WIDTH
) -> SequenceModel:
    """A network of `width` that answers histories as the teacher does, nearly."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    table = teacher.network.item_table().detach()
    kept = _main_directions(table, width)  # (D, width)
    network = _untaught(teacher, table @ kept, width)
    tokens = _tokens(teacher, histories, random)
    with torch.no_grad():
        wanted = teacher.network.eval().hidden(tokens, table) @ kept
    optimizer = AdamW([p for p in network.parameters() if p.requires_grad])
    losses = []
    network.train()
    for epoch in range(EPOCHS):
        total = 0.0
        rate = RATE * (1 - 0.9 * epoch / EPOCHS)
        for rows in torch.from_numpy(random.permutation(len(tokens))).split(BATCH_ROWS):
            used = tokens[rows] > 0
            said = network.hidden(tokens[rows], network.item_table(), used)
            loss = (said - wanted[rows][used]).square().mean()
            loss.backward()
            optimizer.step(rate)
            total += float(loss.detach()) * len(rows)
        losses.append(total / max(len(tokens), 1))
    wall_s = time.perf_counter() - started
    return SequenceModel(teacher.vocabulary, network.eval(), tuple(losses), wall_s)


def _main_directions(table: torch.Tensor, width: int) -> torch.Tensor:
    """The `width` directions in which the table is longest, shape (D, width), orthonormal."""
    gram = (table.T @ table).to(torch.float64).numpy()
    _, vectors = np.linalg.eigh(gram)
    return torch.from_numpy(np.ascontiguousarray(vectors[:, ::-1][:, :width], np.float32))


def _untaught(teacher: SequenceModel, table: torch.Tensor, width: int) -> SequenceNetwork:
    shape = replace(teacher.network.shape, width=width, dropout=0.0)
    network = SequenceNetwork(torch.zeros(len(table), TEXT_WIDTH), shape)
    with torch.no_grad():
        network.item_embedding.copy_(table)
        network.item_bias.copy_(teacher.network.item_bias)
        nn.init.zeros_(network.text_projection.weight)
    for fixed in (network.item_embedding, network.item_bias, network.text_projection.weight):
        fixed.requires_grad_(False)
    return network


def _tokens(
    teacher: SequenceModel, histories: Sequence[Sequence[str]], random: np.random.Generator
) -> torch.Tensor:
    """Histories of one item or more, at most `MOST_HISTORIES` of them, as (n, 50)."""
    known = [history for history in histories if history]
    if len(known) > MOST_HISTORIES:
        drawn = np.sort(random.choice(len(known), MOST_HISTORIES, replace=False))
        known = [known[i] for i in drawn]
    encoded = np.stack([teacher.vocabulary.encode(history) for history in known])
    return torch.from_numpy(encoded[(encoded > 0).any(axis=1)])
