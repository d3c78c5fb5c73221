"""Why an item stands where it stands: its score divided among sources, and among past events.

A linear ranker's log-odds are a sum, so the division among features is exact. What a model made of
a history is asked by leaving one event out at a time, which is no sum: what events say together
goes to none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Contributions(msgspec.Struct, frozen=True, kw_only=True):
    """One item's log-odds, part by part; `bias` and the features add up to `score`."""

    score: float
    bias: float
    features: dict[str, float]
    sources: dict[str, float]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the history; `gain` is how much higher the item's score is because of it."""

    place: int
    item_id: str
    gain: float


SOURCES = (
    "own", "popularity", "cooccurrence", "like", "sequence", "item", "visitor", "position",
)  # fmt: skip


def source_of(feature: str) -> str:
    """The source a ranker's feature speaks for, by the start of its name; else the name itself.

    >>> source_of("own_recency"), source_of("price_distance")
    ('own', 'price_distance')
    """
    return next((name for name in SOURCES if feature.split("_")[0] == name), feature)


def contributions(
    features: Sequence[float],
    weights: Sequence[float],
    names: Sequence[str],
    bias: float = 0.0,
    sources: Mapping[str, str] | None = None,
) -> Contributions:
    """Divides a linear score among features (weight times value) and the sources they come from.

    `sources` names each feature's source; those it lacks go by the start of their names.

    >>> found = contributions([1.0, 2.0, 0.5], [0.5, -0.25, 2.0], ["a", "b", "c"], 0.1,
    ...                       {"a": "own", "b": "own"})
    >>> found.score, found.features["b"], found.sources
    (1.1, -0.5, {'own': 0.0, 'c': 1.0})
    """
    known = sources or {}
    parts = [float(a) * float(b) for a, b in zip(features, weights, strict=True)]
    by_feature = dict(zip(names, parts, strict=True))
    by_source: dict[str, float] = {}
    for name, part in by_feature.items():
        source = known.get(name, source_of(name))
        by_source[source] = by_source.get(source, 0.0) + part
    return Contributions(score=bias + sum(parts), bias=bias, features=by_feature, sources=by_source)


def against_mean(found: Contributions, mean: Contributions) -> dict[str, float]:
    """What sets an item apart from the mean of its list, by source; adds up to the difference.

    >>> one = contributions([2.0], [1.0], ["a"])
    >>> against_mean(one, contributions([0.5], [1.0], ["a"]))
    {'a': 1.5}
    """
    return {name: part - mean.sources[name] for name, part in found.sources.items()}


def by_event(
    history: Sequence[str], score: Callable[[list[list[str]]], Floats]
) -> tuple[float, list[Event]]:
    """An item's score from the whole history, and what each event adds when the others stay.

    `score` gives one number per history, for one item; it is asked once, with the whole history
    and each with one event left out. Histories are newest last.
    Source: Li, Monroe, Jurafsky 2016 ("Understanding neural networks through erasure").

    >>> whole, events = by_event(["x", "y"], lambda each: np.array([float(len(h)) for h in each]))
    >>> whole, [(one.item_id, one.gain) for one in events]
    (2.0, [('x', 1.0), ('y', 1.0)])
    """
    items = list(history)
    asked = [items, *(items[:i] + items[i + 1 :] for i in range(len(items)))]
    scores = score(asked)
    whole = float(scores[0])
    events = [
        Event(place=i, item_id=item, gain=whole - float(scores[i + 1]))
        for i, item in enumerate(items)
    ]
    return whole, events


def mean_absolute(
    rows: Floats,
    weights: Sequence[float],
    names: Sequence[str],
    sources: Mapping[str, str] | None = None,
) -> tuple[dict[str, float], dict[str, float]]:
    """What moves a ranker: mean absolute contribution by feature and by source, greatest first.

    `rows` has shape (n, features). Contributions are taken from the mean row's, because a feature
    that is the same for every item moves nothing.
    Source: Lundberg and Lee 2017, the linear case with independent features.

    >>> rows = np.array([[0.0, 1.0], [2.0, 1.0]])
    >>> mean_absolute(rows, [0.5, 3.0], ["a", "b"])
    ({'a': 0.5, 'b': 0.0}, {'a': 0.5, 'b': 0.0})
    """
    known = sources or {}
    parts = (rows - rows.mean(axis=0, keepdims=True)) * np.asarray(weights, np.float64)
    by_feature = dict(zip(names, np.abs(parts).mean(axis=0).tolist(), strict=True))
    columns: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        columns.setdefault(known.get(name, source_of(name)), []).append(i)
    by_source = {
        source: float(np.abs(parts[:, at].sum(axis=1)).mean()) for source, at in columns.items()
    }
    return _falling(by_feature), _falling(by_source)


def _falling(found: dict[str, float]) -> dict[str, float]:
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
