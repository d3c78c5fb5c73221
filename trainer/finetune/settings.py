"""The `[finetune]` section of a task file."""

from __future__ import annotations

from typing import Literal

import msgspec

Method = Literal["full", "frozen", "adapter", "prefix", "lora", "adalora"]


class FinetuneSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the encoder is fitted to the task's labels.

    What to fit
        method: `full` moves every weight, `frozen` the head alone on features computed once; the
            others add few weights and leave the encoder's own still.
        head_start: begin with the head that `frozen` would give, in place of one drawn at random.
        rank: of LoRA's and AdaLoRA's matrices; bottleneck: width of adapters; prefix: its tokens.
        train_embeddings: whether `full` moves the word embeddings, most of a small encoder.
    How long, in what steps
        epochs, batch_rows; length: tokens at which texts are cut.
        check_every: epochs between validations, each of which writes a checkpoint.
        patience: validations without a better one before stopping; 0 never stops.
        keep_best: end with the weights of the best validation, not with the last.
    Rates
        learning_rate: of the encoder; head_rate: of the head; tuning_rate: of added weights.
        warmup: share of the steps; decay: what follows it; layer_decay: factor from layer to layer
            downwards (1 treats all alike); l2: decoupled weight decay; largest_norm: the gradient
            is clipped to it.
    Sturdiness
        dropout: before the head; label_smoothing: share given to all labels evenly.
        adversarial: attack on the embeddings' output, `fgm` one step, `pgd` several, of `epsilon`.
        average: `ema` with `ema_decay`, or `swa` over the checks of the last half.
        ensemble: members fitted from as many seeds, their weights averaged where that is no loss.
    Which examples
        largest_weight: an example's weight, such as its inverse propensity, is clipped to it.
        curriculum: order in the first epoch by the starting head's loss, or with corrections
            (weight above 1) last.
        unlabelled: `pseudo` adds confident and consistent guesses before training, `consistency`
            asks each step for the same answer on thinned text; both from `confidence` up and
            multiplied by `unlabelled_weight`.
    Machine
        precision: `auto` is bf16 where the device multiplies it in hardware.
    """

    method: Method = "full"
    head_start: bool = True
    rank: int = 8
    bottleneck: int = 48
    prefix: int = 16
    train_embeddings: bool = True
    epochs: float = 3.0
    batch_rows: int = 32
    length: int = 128
    check_every: float = 1.0
    patience: int = 0
    keep_best: bool = True
    learning_rate: float = 2e-5
    head_rate: float = 1e-3
    tuning_rate: float = 5e-4
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    warmup: float = 0.06
    decay: Literal["linear", "cosine", "none"] = "linear"
    layer_decay: float = 1.0
    l2: float = 0.01
    largest_norm: float = 1.0
    dropout: float = 0.1
    label_smoothing: float = 0.0
    adversarial: Literal["none", "fgm", "pgd"] = "none"
    epsilon: float = 1.0
    average: Literal["none", "ema", "swa"] = "none"
    ema_decay: float = 0.99
    ensemble: int = 1
    largest_weight: float = 10.0
    curriculum: Literal["none", "easy_first", "hard_first", "corrections_last"] = "none"
    unlabelled: Literal["none", "pseudo", "consistency"] = "none"
    confidence: float = 0.95
    unlabelled_weight: float = 1.0
    precision: Literal["auto", "bf16", "float32"] = "auto"
