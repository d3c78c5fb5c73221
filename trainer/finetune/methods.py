"""Which weights a method moves, and how what it adds ends in the model's plain form."""

from __future__ import annotations

from typing import Any

import torch

from trainer.finetune.added import Added
from trainer.finetune.model import TextModel
from trainer.finetune.settings import FinetuneSettings

ORTHOGONAL = 0.5


def added_by(how: FinetuneSettings) -> Added:
    """The parts that a method hangs on the encoder."""
    return Added(
        bottleneck=how.bottleneck if how.method == "adapter" else 0,
        prefix=how.prefix if how.method == "prefix" else 0,
    )


class Trained:
    """The model with a method's weights free to move; `end` makes it plain again."""

    def __init__(self, model: TextModel, how: FinetuneSettings, steps: int) -> None:
        self.model = model
        self._tuner: Any = _tuner(model, how, steps) if how.method in ("lora", "adalora") else None
        self._adaptive = how.method == "adalora"
        if how.method != "full":
            for name, one in model.network.named_parameters():
                one.requires_grad_("lora_" in name)
        elif not how.train_embeddings:
            model.network.get_input_embeddings().weight.requires_grad_(False)

    def penalty(self) -> torch.Tensor | float:
        """AdaLoRA keeps its two bases near orthogonal.

        *Source:* Zhang et al., AdaLoRA, 2023, equation 4.
        """
        if not self._adaptive:
            return 0.0
        found = [
            (
                (one @ one.T if "lora_A" in name else one.T @ one)
                - torch.eye(min(one.shape), device=one.device)
            )
            .square()
            .sum()
            .sqrt()
            for name, one in self.model.network.named_parameters()
            if "lora_A" in name or "lora_B" in name
        ]
        return ORTHOGONAL * torch.stack(found).mean()

    def stepped(self, step: int) -> None:
        """After an optimiser's step, gradients still there: AdaLoRA divides its ranks anew."""
        if self._adaptive:
            self._tuner.update_and_allocate(step)

    def state(self) -> dict[str, torch.Tensor]:
        """What the division of ranks has learned of each weight's importance."""
        if not self._adaptive:
            return {}
        ranks = self._tuner.rankallocator
        return {
            f"{kind}/{name}": one
            for kind in ("ipt", "exp_avg_ipt", "exp_avg_unc")
            for name, one in getattr(ranks, kind).items()
        }

    def set_state(self, state: dict[str, torch.Tensor]) -> None:
        """Goes on from what `state` gave."""
        for key, one in state.items():
            kind, name = key.split("/", 1)
            getattr(self._tuner.rankallocator, kind)[name] = one.clone()

    def end(self) -> None:
        """Merges low-rank weights into the encoder's own, where there are any."""
        if self._tuner is not None:
            self.model.network = self._tuner.merge_and_unload()
        for one in self.model.parameters():
            one.requires_grad_(True)


def _tuner(model: TextModel, how: FinetuneSettings, steps: int) -> Any:
    from peft import AdaLoraConfig, LoraConfig, get_peft_model

    shared: dict[str, Any] = {"target_modules": "all-linear", "lora_alpha": 2 * how.rank}
    if how.method == "lora":
        config = LoraConfig(r=how.rank, **shared)
    else:
        config = AdaLoraConfig(
            init_r=how.rank + how.rank // 2,
            target_r=how.rank,
            tinit=steps // 5,
            tfinal=steps // 3,
            deltaT=max(1, steps // 50),
            total_step=steps,
            **shared,
        )
    return get_peft_model(model.network, config).base_model
