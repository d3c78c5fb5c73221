"""The report of a version as a whole: what moves its rankers, and what speaks for each label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from adapters.onnx import LoadedVersion
from core.explain import Contributions, Event, Floats, by_event, contributions, mean_absolute
from core.ranking import RankerWeights

EXPLAIN = "explain.json"


class TokenShare(msgspec.Struct, frozen=True, kw_only=True):
    """A token and what it adds; in a report over many texts `n` is how often it occurred."""

    token: str
    adds: float
    n: int = 1


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """Mean absolute contribution to the log-odds over `n` held-out items, greatest first."""

    n: int
    features: dict[str, float]
    sources: dict[str, float]


class Explained(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `explain.json` of a version says; `rankers` by surface, `tokens` by label."""

    rankers: dict[str, Moved] = {}
    tokens: dict[str, list[TokenShare]] = {}


class WhyItem(msgspec.Struct, frozen=True, kw_only=True):
    """Why an item stands where it stands: by source, and by event for the sequence's share.

    `sequence` is the item's log-probability after the history, `events` what each event adds.
    """

    item_id: str
    parts: Contributions
    sequence: float | None = None
    events: list[Event] = []


def why_item(
    version: LoadedVersion,
    surface: str,
    features: Sequence[float],
    item_id: str,
    history: Sequence[str],
) -> WhyItem:
    """Explains one slot from its logged features and the history, newest last, it was made from."""
    ranker = version.ranker[surface]
    parts = contributions(features, ranker.coef.tolist(), ranker.names, ranker.bias)
    column = version.words.index.get(item_id)
    if column is None or not history:
        return WhyItem(item_id=item_id, parts=parts)

    def score(histories: list[list[str]]) -> Floats:
        return np.asarray(version.score(histories, [column + 1])[:, 0], np.float64)

    whole, events = by_event(history, score)
    return WhyItem(item_id=item_id, parts=parts, sequence=whole, events=events)


def rankers_report(
    rankers: Mapping[str, RankerWeights], rows: Mapping[str, Floats]
) -> dict[str, Moved]:
    """What moves each surface's ranker over its held-out items, shape (n, features).

    >>> ranker = RankerWeights(("own", "item_age"), np.array([2.0, 1.0]), 0.0, "v")
    >>> rankers_report({"home": ranker}, {"home": np.array([[0.0, 1.0], [1.0, 1.0]])})
    {'home': Moved(n=2, features={'own': 1.0, 'item_age': 0.0}, sources={'own': 1.0, 'item': 0.0})}
    """
    found = {}
    for surface, ranker in rankers.items():
        if surface in rows and len(rows[surface]):
            features, sources = mean_absolute(rows[surface], ranker.coef.tolist(), ranker.names)
            found[surface] = Moved(n=len(rows[surface]), features=features, sources=sources)
    return found


def explained_bytes(explained: Explained) -> bytes:
    """The bytes of explain.json: the same for the same report."""
    return msgspec.json.format(msgspec.json.encode(explained))


def write_explained(explained: Explained, folder: Path) -> Path:
    """Writes explain.json, whole, and gives its path."""
    path = folder / EXPLAIN
    partial = path.with_suffix(".partial")
    partial.write_bytes(explained_bytes(explained))
    partial.replace(path)
    return path
