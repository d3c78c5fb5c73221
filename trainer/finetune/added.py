"""What parameter-efficient methods add to an encoder: bottleneck adapters and a prefix.

Both hang on the network as hooks, so its own weights and its saved form stay as they were, and a
traced graph has them inside. (LoRA leaves nothing behind: it is merged into the weights.)

*Source:* Houlsby et al., Parameter-Efficient Transfer Learning for NLP, 2019 (adapters); Liu et
al., P-Tuning v2, 2022 (a prefix of learned tokens at every layer).
"""

from __future__ import annotations

from typing import Any

import msgspec
import torch
from torch import nn

from schemas.errors import BadSettings

# Where a layer's attention and its feed-forward part end, before they are added to its input.
_ENDS = ("attention.output.dense", "output.dense", "attn.c_proj", "mlp.c_proj")


class Added(msgspec.Struct, frozen=True, kw_only=True):
    """Width of the adapters and tokens of the prefix; 0 is none."""

    bottleneck: int = 0
    prefix: int = 0


class Bottleneck(nn.Module):  # type: ignore[misc]  # torch comes without types here
    """Down, GELU, up, plus its input; it begins as the identity."""

    def __init__(self, width: int, narrow: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, narrow), nn.Linear(narrow, width)
        nn.init.normal_(self.down.weight, std=0.02)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """The same shape as its input."""
        return hidden + self.up(nn.functional.gelu(self.down(hidden)))


class Prefix(nn.Module):  # type: ignore[misc]  # torch comes without types here
    """Learned tokens of one layer, shape (tokens, width)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(tokens, width) * 0.02)

    def before(self, hidden: torch.Tensor) -> torch.Tensor:
        """The tokens, then the hidden states."""
        tokens = self.tokens.to(hidden.dtype).expand(hidden.shape[0], -1, -1)
        return torch.cat([tokens, hidden], dim=1)


class _AdaptOutput:
    """A hook; an object, so that a deep copy of the model has hooks of its own."""

    def __init__(self, part: Bottleneck) -> None:
        self.part = part

    def __call__(self, _module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return self.part(output)


class _PutBefore:
    """Puts the first layer's prefix before the embedded text."""

    def __init__(self, part: Prefix) -> None:
        self.part = part

    def __call__(self, _module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return self.part.before(output)


class _Renew:
    """Puts a layer's own prefix where the former layer's was."""

    def __init__(self, part: Prefix) -> None:
        self.part = part

    def __call__(self, _module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden, *rest = inputs
        return self.part.before(hidden[:, self.part.tokens.shape[0] :]), *rest


def add_parts(network: Any, added: Added) -> nn.ModuleList:
    """Hangs the parts on the network and returns them; an empty list where nothing is added.

    Raises:
        BadSettings: the network has no such places.
    """
    parts = nn.ModuleList()
    width = int(network.config.hidden_size)
    if added.bottleneck:
        for end in layer_ends(network):
            part = Bottleneck(width, added.bottleneck)
            end.register_forward_hook(_AdaptOutput(part))
            parts.append(part)
    if added.prefix:
        parts.extend(_add_prefix(network, added.prefix, width))
    return parts


def layer_ends(network: Any) -> list[Any]:
    """The last projection of every attention and feed-forward part, bottom to top."""
    found = [one for name, one in network.named_modules() if name.endswith(_ENDS)]
    if not found:
        raise BadSettings(f"adapters: unknown layers of {type(network).__name__}")
    return found


def _add_prefix(network: Any, tokens: int, width: int) -> list[Prefix]:
    layers = getattr(getattr(network, "encoder", None), "layer", None)
    embeddings = getattr(network, "embeddings", None)
    if layers is None or embeddings is None:
        raise BadSettings(f"prefix: unknown layers of {type(network).__name__}")
    parts = [Prefix(tokens, width) for _ in layers]
    embeddings.register_forward_hook(_PutBefore(parts[0]))
    for layer, part in zip(list(layers)[1:], parts[1:], strict=True):
        layer.register_forward_pre_hook(_Renew(part))
    return parts
