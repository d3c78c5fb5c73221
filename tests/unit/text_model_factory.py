"""A small text classifier and a corpus that it can learn in a second."""

from __future__ import annotations

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from trainer.corpus.examples import Corpus, Example
from trainer.finetune.model import HeadCard, TextModel, padded, token_ids
from trainer.pretrain.encoder import Encoder

LABELS = ("card", "cash", "loan")
WORDS = ["[PAD]", "[UNK]", *LABELS, *(f"w{i}" for i in range(20))]


def example(at: int, random: np.random.Generator, honest: bool) -> Example:
    label = LABELS[at % 3]
    said = label if random.random() < 0.95 else LABELS[int(random.integers(3))]
    words = [f"w{int(i)}" for i in random.integers(0, 20, int(random.integers(2, 9)))]
    words.insert(int(random.integers(len(words))), said)
    shown = label if honest else LABELS[int(random.integers(3))]
    return Example(
        example_id=str(at), text=" ".join(words), label=shown, slice="even" if at % 2 else "odd"
    )


def corpus(honest: bool = True) -> Corpus:
    random = np.random.default_rng(3)
    rows = [example(at, random, honest or at >= 600) for at in range(1_200)]
    return Corpus(train=rows[:600], valid=rows[600:800], test=rows[800:], labels=LABELS)


def network(kind: str = "bert") -> torch.nn.Module:
    from transformers import AutoModel, BertConfig, GPT2Config

    torch.manual_seed(5)
    if kind == "gpt2":
        config = GPT2Config(vocab_size=len(WORDS), n_embd=32, n_layer=2, n_head=2, n_positions=64)
    else:
        config = BertConfig(
            vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=64, max_position_embeddings=64,
        )  # fmt: skip
    return AutoModel.from_config(config)


def untrained(kind: str = "bert", pooling: str = "mean") -> TextModel:
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    encoder = Encoder(network(kind), tokenizer, pooling)
    card = HeadCard(kind="classify", labels=LABELS, pooling=pooling)
    return TextModel(encoder, card).eval()


def fitted(data: Corpus) -> TextModel:
    """A model after a few steps of Adam on the training part."""
    model = untrained()
    model.train()
    ids, mask = padded(token_ids(model.encoder, data.train, 32), 0)
    truth = torch.tensor([LABELS.index(one.label) for one in data.train])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(60):
        at = torch.arange(step * 64, step * 64 + 64) % len(truth)
        loss = torch.nn.functional.cross_entropy(model(ids[at], mask[at]), truth[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()
