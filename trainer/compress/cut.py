"""Smaller copies of a text model: fewer layers, fewer feed-forward neurons, or zeroed weights.

Cut copies are whole models of their own: they save, load and export like any other.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from schemas.errors import BadSettings
from trainer.finetune.model import TextModel, padded
from trainer.pretrain.encoder import pad_id


def keep_layers(model: TextModel, keep: int) -> TextModel:
    """A copy with this many layers, spread evenly over the model's, first and last among them.

    Source: Sajjad et al. 2023 ("On the effect of dropping layers"), alternate dropping.

    Raises:
        BadSettings: the model has fewer layers, or its layers are not found.
    """
    smaller = copy.deepcopy(model)
    layers = layers_of(smaller)
    kept = kept_layers(len(layers), keep)
    chosen = [layers[i] for i in kept]
    del layers[:]
    layers.extend(chosen)
    smaller.network.config.num_hidden_layers = keep
    smaller.eval()
    return smaller


def kept_layers(layers: int, keep: int) -> list[int]:
    """Which layers stay, counted from 0.

    >>> kept_layers(6, 3), kept_layers(6, 1)
    ([0, 2, 5], [5])
    """
    if not 0 < keep <= layers:
        raise BadSettings(f"compress.layers: {keep} of {layers} layers cannot be kept")
    if keep == 1:
        return [layers - 1]
    return [int(i * (layers - 1) / (keep - 1)) for i in range(keep)]


def layers_of(model: TextModel) -> Any:
    """The list of the network's layers."""
    wanted = int(model.network.config.num_hidden_layers)
    for module in model.network.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise BadSettings("compress.layers: this network's layers are not found")


def cut_neurons(model: TextModel, share: float, tokens: Sequence[Sequence[int]]) -> TextModel:
    """A copy without the feed-forward neurons that matter least to these texts.

    A neuron matters by its mean absolute activation times the norm of its outgoing weights; each
    layer loses the same share, so that the copy keeps one width. Both matrices shrink, so it is
    faster, not only sparser. Source: Hu et al. 2016 (activations); Li et al. 2017 (norms).

    Raises:
        BadSettings: the network's feed-forward layers are not found.
    """
    smaller = copy.deepcopy(model)
    width = int(getattr(smaller.network.config, "intermediate_size", 0))
    pairs = [_feed_forward(layer, width) for layer in layers_of(smaller)]
    importance = _importance(smaller, [second for _, second in pairs], tokens)
    keep = max(8, round(width * (1 - share)))
    for (first, second), found in zip(pairs, importance, strict=True):
        at = torch.topk(found, keep).indices.sort().values
        _shrink(first, second, at)
    smaller.network.config.intermediate_size = keep
    smaller.eval()
    return smaller


def zero_smallest(model: TextModel, share: float) -> TextModel:
    """A copy whose smallest weights, by magnitude within each matrix of a layer, are zero.

    Source: Han et al. 2015 ("Learning both weights and connections").
    """
    smaller = copy.deepcopy(model)
    with torch.no_grad():
        for module in layers_of(smaller).modules():
            weight = getattr(module, "weight", None)
            if weight is not None and weight.dim() == 2:
                limit = weight.abs().flatten().kthvalue(max(1, int(share * weight.numel()))).values
                weight[weight.abs() <= limit] = 0.0
    smaller.eval()
    return smaller


def _feed_forward(layer: Any, width: int) -> tuple[Any, Any]:
    linear = [one for one in layer.modules() if isinstance(one, nn.Linear)]
    first = [one for one in linear if one.out_features == width]
    second = [one for one in linear if one.in_features == width]
    if len(first) != 1 or len(second) != 1:
        raise BadSettings("compress.prune: this network's feed-forward layers are not found")
    return first[0], second[0]


def _importance(model: TextModel, second: list[Any], tokens: Sequence[Sequence[int]]) -> list[Any]:
    seen = [torch.zeros(one.in_features) for one in second]
    real = torch.zeros(())

    def watch(place: int) -> Any:
        def hook(_: Any, given: tuple[Any, ...]) -> None:
            # (batch, length, neurons) to (neurons,), padding left out
            seen[place] += (given[0].abs() * real.unsqueeze(-1)).sum(dim=(0, 1))

        return hook

    hooks = [one.register_forward_pre_hook(watch(i)) for i, one in enumerate(second)]
    with torch.no_grad():
        for start in range(0, len(tokens), 64):
            ids, mask = padded(tokens[start : start + 64], pad_id(model.tokenizer))
            real = mask.to(torch.float32)
            model.features(ids, mask)
    for hook in hooks:
        hook.remove()
    return [a * one.weight.detach().norm(dim=0) for a, one in zip(seen, second, strict=True)]


def _shrink(first: Any, second: Any, at: Any) -> None:
    first.weight = nn.Parameter(first.weight.detach()[at].clone())
    if first.bias is not None:
        first.bias = nn.Parameter(first.bias.detach()[at].clone())
    second.weight = nn.Parameter(second.weight.detach()[:, at].clone())
    first.out_features = second.in_features = len(at)
