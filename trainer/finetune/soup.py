"""An ensemble in one model: the mean of its members' weights.

Members start from the same encoder and the same head, so their weights can be averaged; the mean
costs one member's time to serve.

*Source:* Wortsman et al., Model Soups, 2022, recipe 1 (greedy).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trainer.finetune.model import TextModel, run_rows
from trainer.finetune.rows import Rows
from trainer.finetune.score import score


def soup(members: Sequence[TextModel], valid: Rows) -> TextModel:
    """The best member, with every other one mixed in that does not make validation worse."""
    judged = sorted(members, key=lambda one: -_score(one, valid))
    chosen, best = [judged[0].state_dict()], _score(judged[0], valid)
    model = judged[0]
    kept = _copy(model.state_dict())
    chosen = [kept]
    for other in judged[1:]:
        tried = [*chosen, other.state_dict()]
        model.load_state_dict(_mean(tried))
        found = _score(model, valid)
        if found >= best:
            chosen, best = tried, found
    model.load_state_dict(_mean(chosen))
    return model


def _score(model: TextModel, valid: Rows) -> float:
    if not len(valid):
        return 0.0
    return score(model.card.kind, run_rows(model, model.raw, valid.tokens), valid.targets)


def _copy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: one.clone() for name, one in state.items()}


def _mean(states: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {
        name: torch.stack([one[name].float() for one in states]).mean(0).to(first.dtype)
        for name, first in states[0].items()
    }
