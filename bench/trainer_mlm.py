"""How many real tokens a second masked-language-model pre-training takes in, whole steps.

The product's own loop trains 2 layers of 128 numbers with a vocabulary of 8,000 on Chinese reviews:
forward, backward and optimiser, blocks without padding. The steps before are not timed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from bench.zh_reviews import read_reviews
from trainer.pretrain.blocks import token_line
from trainer.pretrain.loop import fit, make_plan
from trainer.pretrain.networks import objective_of, starting_encoder
from trainer.pretrain.settings import PretrainSettings

THREADS = 2
REVIEWS = 20_000
SETTINGS = PretrainSettings(layers=2, width=128, heads=2, vocabulary=8_000, length=128)
WARM_STEPS, STEPS = 5, 60
SEED = 7


def measure(data: Path, quick: bool) -> dict[str, Any]:
    """The key `mlm_tokens_s`."""
    torch.manual_seed(SEED)
    texts = [one.text for one in read_reviews(data)[:REVIEWS]]
    encoder = starting_encoder(SETTINGS, texts, Path())
    line = token_line(encoder.tokenizer, texts, SETTINGS.length)
    objective = objective_of(SETTINGS, encoder)
    nowhere = Path("checkpoint-that-is-not-there")
    speeds = []
    for steps in (WARM_STEPS, 10 if quick else STEPS):
        settings = replace(SETTINGS, most_steps=steps, checkpoint_steps=steps)
        plan = make_plan(settings, SEED, "", len(line.tokens))
        fitted = fit(objective, line, plan, nowhere)
        speeds.append(fitted.tokens / fitted.wall_s)
        print(f"mlm: {steps} steps, {fitted.tokens} tokens, {speeds[-1]:.0f} tokens/s", flush=True)
    return {"mlm_tokens_s": round(speeds[-1])}
