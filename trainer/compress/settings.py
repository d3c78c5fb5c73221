"""The `[compress]` section of a task file."""

from __future__ import annotations

import msgspec


class CompressSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which smaller versions are made beside the whole one, and how much each may lose.

    `prune` lists shares of the feed-forward neurons to cut, `zero` shares of all weights to set to
    zero (smaller on disk only when packed, never faster), `layers` how many layers to keep. With
    `distill` each cut network also learns from the whole one: `distill_epochs` over at most
    `distill_rows` training rows, unlabelled ones among them. `int8` makes every network's int8
    form as well. A version may lose `largest_loss` at the upper bound of its interval.
    """

    int8: bool = True
    prune: tuple[float, ...] = ()
    zero: tuple[float, ...] = ()
    layers: tuple[int, ...] = ()
    distill: bool = False
    distill_epochs: int = 3
    distill_rows: int = 20_000
    distill_temperature: float = 2.0
    distill_learning_rate: float = 1e-4
    largest_loss: float = 0.01
