"""What each token of a text adds to one of a model's outputs, by integrated gradients.

The text is compared with one of the same length made of padding. Attributions add up to the
difference between the two outputs; `gap` says by how much they miss it.

*Source:* Sundararajan, Taly, Yan, Axiomatic Attribution for Deep Networks, 2017, section 3.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import torch

from schemas.errors import BadSettings
from trainer.corpus.examples import Example
from trainer.explain.report import TokenShare
from trainer.finetune.model import TextModel, padded, token_ids
from trainer.pretrain.encoder import pad_id, pool

STEPS = 128
BATCH_STEPS = 32


class TextExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """One output for one text: `output` = `baseline` + what the tokens add + `gap`."""

    label: str
    output: float
    baseline: float
    tokens: list[TokenShare]
    gap: float


def explain_text(
    model: TextModel, example: Example, label: str = "", steps: int = STEPS
) -> TextExplanation:
    """Divides a label's logit (by default the highest), or the number, among the tokens.

    Raises:
        BadSettings: the model has a prefix, whose tokens are none of the text's.
    """
    if model.card.added.prefix:
        raise BadSettings("a model with a prefix cannot be explained by its tokens")
    model.eval()
    (tokens,) = token_ids(model.encoder, [example], model.card.length)
    ids, mask = padded([tokens], pad_id(model.tokenizer))
    table = model.network.get_input_embeddings()
    with torch.no_grad():
        given, empty = table(ids), table(torch.full_like(ids, pad_id(model.tokenizer)))
        outputs = _outputs(model, given, mask)[0]
    place = _place(model, label, outputs)
    with torch.no_grad():
        baseline = float(_outputs(model, empty, mask)[0, place])
    gradient = _mean_gradient(model, given, empty, mask, (place, steps))
    adds = ((given - empty) * gradient).sum(dim=-1)[0].tolist()
    output = float(outputs[place])
    return TextExplanation(
        label=model.card.labels[place] if model.card.labels else "",
        output=output,
        baseline=baseline,
        tokens=[
            TokenShare(token=model.tokenizer.id_to_token(one) or "", adds=share)
            for one, share in zip(tokens, adds, strict=True)
        ],
        gap=output - baseline - sum(adds),
    )


def top_tokens(
    model: TextModel, examples: Sequence[Example], most: int = 10, steps: int = 24
) -> dict[str, list[TokenShare]]:
    """The tokens that speak most for each label, by their mean over the texts it was said of."""
    adds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for example in examples:
        found = explain_text(model, example, steps=steps)
        for share in found.tokens:
            adds[found.label][share.token].append(share.adds)
    return {label: _greatest(tokens, most) for label, tokens in sorted(adds.items())}


def _greatest(tokens: dict[str, list[float]], most: int) -> list[TokenShare]:
    shares = [
        TokenShare(token=token, adds=sum(adds) / len(adds), n=len(adds))
        for token, adds in tokens.items()
    ]
    return sorted(shares, key=lambda one: (-one.adds, one.token))[:most]


def _place(model: TextModel, label: str, outputs: Any) -> int:
    return model.card.labels.index(label) if label else int(outputs.argmax())


def _outputs(model: TextModel, embedded: Any, mask: Any) -> Any:
    """Outputs as served from embeddings of shape (batch, length, width)."""
    hidden = model.network(inputs_embeds=embedded, attention_mask=mask).last_hidden_state
    raw = model.head(pool(hidden, mask, model.card.pooling))
    if model.card.kind == "classify":
        return raw / model.card.temperature
    return raw * model.card.scale + model.card.centre


def _mean_gradient(
    model: TextModel, given: Any, empty: Any, mask: Any, asked: tuple[int, int]
) -> Any:
    place, steps = asked
    total = torch.zeros_like(given)
    # The middle of each step: its error falls with the square of their number.
    along = (torch.arange(steps) + 0.5) / steps
    for part in along.split(BATCH_STEPS):
        at = (empty + part[:, None, None] * (given - empty)).detach().requires_grad_(True)
        said = _outputs(model, at, mask.expand(len(part), -1))[:, place].sum()
        (found,) = torch.autograd.grad(said, at)
        total += found.sum(dim=0, keepdim=True)
    return total / steps
