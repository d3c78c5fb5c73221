"""The `[search]` section of a task file."""

from __future__ import annotations

from typing import Literal

import msgspec


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How queries and products are matched; read by tasks of kind `search` alone.

    `rerank` candidates go through the cross-encoder; per query `hard_negatives` products that BM25
    puts high and nobody judged join as not relevant with `negative_weight`. Lengths are in tokens.
    `group` products of a query make one list of a training step, of which a step has `lists`.
    `relevant` is the lowest grade, counted from the worst as 0, that is a hit; 0 takes the
    highest that the training part has.
    `frozen_layers` of the encoder, from below, keep their weights. `slowest_rerank_ms` is what the
    cross-encoder may take for fifty candidates on one thread.
    """

    rerank: int = 100
    hard_negatives: int = 4
    negative_weight: float = 0.5
    query_length: int = 12
    product_length: int = 24
    pair_length: int = 32
    group: int = 16
    lists: int = 2
    vector_epochs: int = 1
    vector_rate: float = 5e-5
    vector_scale: float = 20.0
    pair_epochs: int = 1
    pair_rate: float = 1e-4
    frozen_layers: int = 2
    weight_decay: float = 0.01
    warm_up: float = 0.1
    blend_share: float = 0.2
    blend_l2: float = 1.0
    relevant: float = 0.0
    slowest_rerank_ms: float = 400.0
    precision: Literal["float32", "bfloat16"] = "bfloat16"
