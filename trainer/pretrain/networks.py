"""Builds the network of an objective, new or from a local directory, with its tokenizer.

Bodies are plain transformers models, so what is saved loads anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from schemas.errors import BadSettings
from trainer.pretrain.encoder import Encoder, load_encoder, special_id
from trainer.pretrain.objectives import Causal, Denoising, Masked, Vocabulary
from trainer.pretrain.settings import PretrainSettings
from trainer.pretrain.wordpieces import train_tokenizer

ENDS = (".", "!", "?", "。", "！", "？", "[SEP]", "</s>")
_ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
MOST_PLACES = 512


def starting_encoder(settings: PretrainSettings, texts: Sequence[str], start: Path) -> Encoder:
    """The encoder before pre-training: of the `start` directory, or new with its own tokenizer."""
    if settings.start:
        found = load_encoder(start)
        _check(settings, found)
        return found
    tokenizer = train_tokenizer(texts, settings.vocabulary)
    if settings.objective == "causal":
        return Encoder(_causal_body(settings, tokenizer), tokenizer, "last")
    return Encoder(_bert_body(settings, tokenizer), tokenizer, "mean")


def objective_of(settings: PretrainSettings, encoder: Encoder) -> Masked | Causal | Denoising:
    """The objective that the settings name, around the encoder's network."""
    known = vocabulary_of(encoder)
    if settings.objective == "causal":
        return Causal(encoder.network)
    if settings.objective == "denoising":
        return Denoising(encoder.network, _light_decoder(encoder), known)
    return Masked(encoder.network, known)


def vocabulary_of(encoder: Encoder) -> Vocabulary:
    """What an objective must know of the encoder's tokenizer."""
    tokenizer = encoder.tokenizer
    specials = [found for role in _ROLES if (found := special_id(tokenizer, role)) is not None]
    ends = [found for end in ENDS if (found := tokenizer.token_to_id(end)) is not None]
    return Vocabulary(
        size=int(encoder.network.config.vocab_size),
        specials=tuple(specials),
        mask=special_id(tokenizer, "mask_token") or 0,
        begin=special_id(tokenizer, "cls_token") or 0,
        ends=tuple(ends),
    )


def _check(settings: PretrainSettings, encoder: Encoder) -> None:
    """Refuses an objective that the start cannot be trained for."""
    kind = str(encoder.network.config.model_type)
    reads_forward = kind in ("llama", "gpt2", "mistral", "qwen2", "qwen3")
    if (settings.objective == "causal") != reads_forward:
        raise BadSettings(f"pretrain: a {kind} network cannot be trained as {settings.objective}")
    if not reads_forward and special_id(encoder.tokenizer, "mask_token") is None:
        raise BadSettings(f"pretrain: the tokenizer in {settings.start} has no mask token")


def _bert_body(settings: PretrainSettings, tokenizer: Tokenizer) -> Any:
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=4 * settings.width,
        max_position_embeddings=max(MOST_PLACES, settings.length),
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.dropout,
        pad_token_id=special_id(tokenizer, "pad_token"),
    )
    return BertModel(config, add_pooling_layer=False)


def _causal_body(settings: PretrainSettings, tokenizer: Tokenizer) -> Any:
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=settings.width,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        intermediate_size=4 * settings.width,
        max_position_embeddings=max(MOST_PLACES, settings.length),
        pad_token_id=special_id(tokenizer, "pad_token"),
        bos_token_id=special_id(tokenizer, "cls_token"),
        eos_token_id=special_id(tokenizer, "sep_token"),
        tie_word_embeddings=True,
        use_cache=False,
    )
    return LlamaModel(config)


def _light_decoder(encoder: Encoder) -> Any:
    """One layer that looks at the encoder's states; it shares the encoder's word embeddings."""
    from transformers import BertConfig, BertModel

    theirs = encoder.network.config
    config = BertConfig(
        vocab_size=theirs.vocab_size,
        hidden_size=theirs.hidden_size,
        num_hidden_layers=1,
        num_attention_heads=theirs.num_attention_heads,
        intermediate_size=4 * theirs.hidden_size,
        max_position_embeddings=theirs.max_position_embeddings,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        is_decoder=True,
        add_cross_attention=True,
        use_cache=False,
    )
    return BertModel(config, add_pooling_layer=False)
