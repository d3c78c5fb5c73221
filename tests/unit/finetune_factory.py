"""A very small encoder and corpus for tests of fine-tuning."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from trainer.corpus.examples import Corpus, Example
from trainer.pretrain.encoder import Encoder, save_encoder

WORDS = (
    "card",
    "lost",
    "stolen",
    "refund",
    "money",
    "back",
    "please",
    "my",
    "the",
    "now",
    "top",
    "up",
)
TOPICS = {"lost": ("lost", "stolen"), "refund": ("refund", "money"), "top_up": ("top", "up")}


def small_encoder(folder: Path) -> Path:
    """A Hugging Face directory of two layers of width 16."""
    from transformers import BertConfig, BertModel

    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    vocabulary = {word: at for at, word in enumerate((*special, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    network = BertModel(shape, add_pooling_layer=False).eval()
    save_encoder(Encoder(network, tokenizer), folder)
    return folder


def small_corpus(rows: int = 48) -> Corpus:
    """Texts in which one of two words tells the topic; `value` counts the topic's place."""
    texts = []
    for at in range(rows):
        label = sorted(TOPICS)[at % 3]
        words = [WORDS[(at * 5 + step) % 10] for step in range(at % 4)]
        text = " ".join([*words, TOPICS[label][at // 3 % 2]])
        texts.append(
            Example(example_id=str(at), text=text, label=label, value=2.0 + 3.0 * (at % 3))
        )
    cut = rows * 3 // 4
    bare = [Example(example_id=f"u{at}", text=one.text) for at, one in enumerate(texts)]
    return Corpus(
        train=texts[:cut], valid=texts[cut:], test=[], unlabelled=bare, labels=tuple(sorted(TOPICS))
    )
