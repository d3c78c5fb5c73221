"""What pre-training asks of a network: hidden words, the next word, or an undamaged text.

Each objective holds the body that becomes the encoder and whatever it needs beside it; `draw` makes
a batch from blocks of tokens on the CPU, and calling the module gives its loss. Every output layer
is tied to the body's word embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from trainer.pretrain.blocks import Tokens
from trainer.pretrain.damage import Damage, damaged

HIDDEN_SHARE = 0.15
SHOWN_AS_MASK, SHOWN_AS_OTHER = 0.8, 0.1

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Vocabulary:
    """What an objective must know of a tokenizer: its size and special ids."""

    size: int
    specials: tuple[int, ...]
    mask: int
    begin: int
    ends: tuple[int, ...] = ()

    def is_special(self, tokens: Tokens) -> NDArray[np.bool_]:
        """Where a token is a special one."""
        return np.isin(tokens, self.specials)


class Objective(Protocol):
    """Makes batches from blocks and has a loss."""

    def draw(self, blocks: Tokens, rng: np.random.Generator) -> Batch:
        """A batch of these blocks; all chance comes from `rng`."""
        ...

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The mean loss of a batch, a scalar."""
        ...


class TiedHead(nn.Module):  # type: ignore[misc]
    """Scores of every word by the body's own word embeddings, after one more layer."""

    def __init__(self, embeddings: nn.Embedding, vocabulary: int) -> None:
        super().__init__()
        width = embeddings.weight.shape[1]
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.weight = embeddings.weight

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores of shape (n, vocabulary) of states of shape (n, width)."""
        shaped = self.norm(functional.gelu(self.dense(hidden)))
        return functional.linear(shaped, self.weight, self.bias)


class Masked(nn.Module):  # type: ignore[misc]
    """Masked language model: 15 % of words are hidden and guessed; no other place is scored.

    Of the hidden, 80 % show the mask, 10 % another word and 10 % themselves.

    *Source:* Devlin et al., BERT, 2019, section 3.1.
    """

    def __init__(self, body: Any, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.body = body
        self.head = TiedHead(body.get_input_embeddings(), vocabulary.size)
        self._vocabulary = vocabulary

    def draw(self, blocks: Tokens, rng: np.random.Generator) -> Batch:
        """As many hidden places in each block; `places` count along the flattened blocks."""
        rows, length = blocks.shape
        hidden = max(1, round(HIDDEN_SHARE * length))
        chance = rng.random(blocks.shape)
        chance[self._vocabulary.is_special(blocks)] += 1.0
        columns = np.sort(np.argpartition(chance, hidden - 1, axis=1)[:, :hidden], axis=1)
        places = (columns + np.arange(rows)[:, None] * length).ravel()
        seen = blocks.astype(np.int64).ravel()
        answers = seen[places]
        how = rng.random(len(places))
        others = rng.integers(0, self._vocabulary.size, len(places))
        seen[places] = np.select(
            [how < SHOWN_AS_MASK, how < SHOWN_AS_MASK + SHOWN_AS_OTHER],
            [np.full(len(places), self._vocabulary.mask), others],
            answers,
        )
        made = {"seen": seen.reshape(blocks.shape), "places": places, "answers": answers}
        return {name: torch.from_numpy(value) for name, value in made.items()}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Cross-entropy over the hidden places alone."""
        hidden = self.body(input_ids=batch["seen"]).last_hidden_state
        chosen = hidden.reshape(-1, hidden.shape[-1])[batch["places"]]
        return functional.cross_entropy(self.head(chosen).float(), batch["answers"])


class Causal(nn.Module):  # type: ignore[misc]
    """Causal language model: every next word from those before it.

    *Source:* Radford et al., Improving Language Understanding by Generative Pre-Training, 2018.
    """

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.body = body

    def draw(self, blocks: Tokens, rng: np.random.Generator) -> Batch:  # noqa: ARG002
        """The blocks as they are; there is no chance in it."""
        return {"seen": torch.from_numpy(blocks.astype(np.int64))}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Cross-entropy over all places but the first."""
        seen = batch["seen"]
        hidden = self.body(input_ids=seen, use_cache=False).last_hidden_state[:, :-1]
        scores = functional.linear(hidden.flatten(0, 1), self.body.get_input_embeddings().weight)
        return functional.cross_entropy(scores.float(), seen[:, 1:].flatten())


class Denoising(nn.Module):  # type: ignore[misc]
    """Denoising autoencoder: the body reads a damaged block, a light decoder writes it undamaged.

    Sentences are reordered and spans replaced by one mask each. The decoder is thrown away
    afterwards, so the less it can do alone, the more the encoder must say.

    *Source:* Lewis et al., BART, 2020, section 2.2.
    """

    def __init__(self, body: Any, decoder: Any, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.body = body
        self.decoder = decoder
        self.decoder.set_input_embeddings(body.get_input_embeddings())
        self._vocabulary = vocabulary

    def draw(self, blocks: Tokens, rng: np.random.Generator) -> Batch:
        """Damaged blocks of one length, the blocks, and the blocks one place later."""
        known = Damage(self._vocabulary.mask, self._vocabulary.ends)
        whole = blocks.astype(np.int64)
        before = np.full_like(whole, self._vocabulary.begin)
        before[:, 1:] = whole[:, :-1]
        seen = damaged(blocks, known, rng).astype(np.int64)
        made = {"seen": seen, "before": before, "answers": whole}
        return {name: torch.from_numpy(value) for name, value in made.items()}

    def forward(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Cross-entropy over every token of the undamaged block."""
        memory = self.body(input_ids=batch["seen"]).last_hidden_state
        hidden = self.decoder(
            input_ids=batch["before"], encoder_hidden_states=memory, use_cache=False
        ).last_hidden_state
        scores = functional.linear(hidden.flatten(0, 1), self.body.get_input_embeddings().weight)
        return functional.cross_entropy(scores.float(), batch["answers"].flatten())
