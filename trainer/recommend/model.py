"""The sequence model: a small causal transformer that scores the whole catalogue.

An item's embedding is its own vector plus a projection of its title's hashed text, so an item
without a single sale scores from its text. Order counts only by distance, through a learned bias
per head: a basket is a set and rows start anywhere. It reads no files and trains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.item_text import TEXT_WIDTH
from core.sequence import HISTORY_LENGTH


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; part of a version's hyper-parameters."""

    width: int = 64
    layers: int = 1
    heads: int = 2
    dropout: float = 0.2


class Dropout(nn.Module):  # type: ignore[misc]
    """As `nn.Dropout`, with one random byte per value: drawing floats costs eight times as much."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped_bytes = round(256 * share)

    def forward(self, x: Tensor) -> Tensor:
        """Values of the same shape, some of them zero while training."""
        if not self.training or not self.dropped_bytes:
            return x
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64)
        drawn = words.random_(torch.iinfo(torch.int64).min, None).view(torch.uint8)
        kept = (drawn[: x.numel()] >= self.dropped_bytes).to(x.dtype).view(x.shape)
        return x * kept.mul_(256 / (256 - self.dropped_bytes))


class Block(nn.Module):  # type: ignore[misc]
    """Pre-norm self-attention and feed-forward; attention is biased by distance."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.norm_attention = nn.LayerNorm(shape.width)
        self.norm_feed = nn.LayerNorm(shape.width)
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.feed = nn.Sequential(
            nn.Linear(shape.width, 2 * shape.width),
            nn.GELU(),
            nn.Linear(2 * shape.width, shape.width),
        )
        self.distance_bias = nn.Parameter(torch.zeros(shape.heads, HISTORY_LENGTH))
        self.dropout = Dropout(shape.dropout)

    def attend(self, x: Tensor, mask: Tensor, distance: Tensor) -> Tensor:
        """What the newest Q places read from all, (B, T, D) to (B, Q, D).

        `mask` (B, 1, Q, T) is added to the logits, `distance` (Q, T) chooses their bias.
        """
        width, places = x.shape[2], distance.shape[0]
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        seen = self.norm_attention(x)
        query = nn.functional.linear(seen[:, -places:], weight[:width], bias[:width])
        key, value = nn.functional.linear(seen, weight[width:], bias[width:]).split(width, dim=2)
        query, key, value = (self._by_head(part) for part in (query, key, value))
        logits = query @ key.transpose(-2, -1) / (width // self.heads) ** 0.5
        weights = torch.softmax(logits + self.distance_bias[:, distance] + mask, dim=-1)
        return (weights @ value).transpose(1, 2).flatten(2)

    def finish(self, x: Tensor, read: Tensor) -> Tensor:
        """The rest of the block, place by place: (..., D) and what these places read."""
        x = x + self.dropout(self.out(read))
        return x + self.dropout(self.feed(self.norm_feed(x)))

    def _by_head(self, part: Tensor) -> Tensor:
        return part.unflatten(2, (self.heads, -1)).transpose(1, 2)


class SequenceNetwork(nn.Module):  # type: ignore[misc]
    """Histories in, hidden states or log-probabilities over the vocabulary out."""

    def __init__(self, text: Tensor, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.item_embedding = nn.Parameter(torch.randn(len(text), shape.width) * 0.02)
        self.item_bias = nn.Parameter(torch.zeros(len(text)))
        self.text_projection = nn.Linear(TEXT_WIDTH, shape.width, bias=False)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.dropout = Dropout(shape.dropout)
        self.register_buffer("text", text, persistent=False)
        place = torch.arange(HISTORY_LENGTH)
        distance = (place[:, None] - place[None, :]).clamp(min=0)
        self.register_buffer("distance", distance, persistent=False)
        self.register_buffer("future", place[None, :] > place[:, None], persistent=False)
        nn.init.normal_(self.text_projection.weight, std=0.02)

    def start_at_counts(self, counts: NDArray[np.int64]) -> None:
        """Sets the item biases to log popularity, where learning anything more begins."""
        bias = np.log((counts + 0.5) / (counts.sum() + 0.5 * len(counts)))
        with torch.no_grad():
            self.item_bias.copy_(torch.from_numpy(bias))

    def item_table(self) -> Tensor:
        """Embedding of every vocabulary item, shape (V, D)."""
        return self.item_embedding + self.text_projection(self.text)

    def hidden(self, tokens: Tensor, table: Tensor, used: Tensor | None = None) -> Tensor:
        """Hidden state after each token, (B, T) to (B, T, D); token 0 is padding.

        With `used` (B, T) bool only those places are finished, shape (used, D).
        """
        x, read = self._read(tokens, looked_up(tokens, table), tokens.shape[1])
        if used is not None:
            x, read = x[used], read[used]
        return self.norm(self.blocks[-1].finish(x, read))

    def newest(self, tokens: Tensor, found: Tensor) -> Tensor:
        """Hidden state after the last token: (B, T) and its items (B, T, D) to (B, D)."""
        x, read = self._read(tokens, found, 1)
        return self.norm(self.blocks[-1].finish(x[:, 0], read[:, 0]))

    def _read(self, tokens: Tensor, found: Tensor, places: int) -> tuple[Tensor, Tensor]:
        """The newest places before the last block, and what they read there, (B, places, D)."""
        x = self.dropout(found * self.shape.width**0.5)
        length = tokens.shape[1]
        hidden = self.future[:length, :length] | (tokens == 0)[:, None, None, :]
        mask, distance = hidden.to(x.dtype) * -1e4, self.distance[:length, :length]
        for block in self.blocks[:-1]:
            x = block.finish(x, block.attend(x, mask, distance))
        read = self.blocks[-1].attend(x, mask[:, :, -places:], distance[-places:])
        return x[:, -places:], read


def looked_up(tokens: Tensor, table: Tensor) -> Tensor:
    """Vectors of the items of a batch, zero for padding: (B, T) and (V, D) to (B, T, D)."""
    return torch.cat([torch.zeros_like(table[:1]), table])[tokens]


class ServedNetwork(nn.Module):  # type: ignore[misc]
    """What is exported: the item table is a constant and only the last place is scored.

    It looks items up and scores them in one table as it is, so that a graph holds it once: neither
    with a row for padding in front nor turned over.
    """

    def __init__(self, network: SequenceNetwork) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("table", network.item_table().detach().clone())

    def forward(self, history: Tensor) -> Tensor:
        """Tokens (B, 50) int64, padded in front with 0, to log-probabilities (B, V) float32."""
        known = (history > 0)[:, :, None].to(self.table.dtype)
        found = self.table[(history - 1).clamp(min=0)] * known
        last = self.network.newest(history, found)
        scores = nn.functional.linear(last, self.table, self.network.item_bias)
        return torch.log_softmax(scores, dim=-1)
