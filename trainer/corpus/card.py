"""The data card: what a corpus was made from, what was left out, and what is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core.text_language import guess_language
from schemas.errors import InvalidEvent
from schemas.models import GateCheck
from trainer.corpus.examples import PARTS, Corpus, Example
from trainer.task import Task

_LOOKED_AT = 2_000
Flat = dict[str, float | int | str]


def describe(
    task: Task,
    corpus: Corpus,
    sources: Sequence[Mapping[str, Any]],
    dropped: Mapping[str, int],
    checks: Sequence[GateCheck],
) -> dict[str, Any]:
    """The whole card; `flat_card` is its short form for a manifest."""
    parts: dict[str, list[Example]] = {part: getattr(corpus, part) for part in PARTS}
    every = [one for found in parts.values() for one in found]
    times = [one.at_ms for one in every if one.at_ms]
    return {
        "task": task.task,
        "kind": task.kind,
        "sources": list(sources),
        "rows": sum(int(source["rows"]) for source in sources),
        "dropped": {reason: count for reason, count in sorted(dropped.items()) if count},
        "split": task.data.split,
        "seed": task.seed,
        "parts": {part: _part(found) for part, found in parts.items()},
        "labels": list(corpus.labels),
        "time_span_ms": [min(times), max(times)] if times else [],
        "language": task.language,
        "language_guess": guess_language(one.text for one in every[:_LOOKED_AT]),
        "leakage": [msgspec.to_builtins(check) for check in checks],
        "shares": _shares(corpus.train),
    }


def flat_card(card: Mapping[str, Any]) -> Flat:
    """One level of numbers and words, for the manifest."""
    found: Flat = {name: card[name] for name in ("rows", "split", "language", "language_guess")}
    found["labels"] = len(card["labels"])
    for part, told in card["parts"].items():
        found[f"examples_{part}"] = told["examples"]
        found[f"median_characters_{part}"] = told["characters"]["median"]
    for reason, count in card["dropped"].items():
        found[f"dropped_{reason.replace(' ', '_')}"] = count
    for check in card["leakage"]:
        found[f"leak_{check['name']}"] = check["value"]
        found[f"leak_{check['name']}_passed"] = int(check["passed"])
    found |= {f"{origin}_share": share for origin, share in card["shares"].items()}
    found |= dict(zip(("from_ms", "until_ms"), card["time_span_ms"], strict=False))
    return found | _digests(card["sources"])


def _digests(sources: Sequence[Mapping[str, Any]]) -> Flat:
    return {
        f"{kind}_{source['name']}": source[kind]
        for source in sources
        for kind in ("sha256", "query_sha256")
        if kind in source
    }


def write_card(card: Mapping[str, Any], folder: Path) -> None:
    """`card.json`: the whole card, its short form under `flat`."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "card.partial"
    whole = msgspec.json.encode({"flat": flat_card(card), **card})
    partial.write_bytes(msgspec.json.format(whole, indent=2))
    partial.replace(folder / "card.json")


def read_flat_card(folder: Path) -> Flat:
    """The short form that `write_card` wrote.

    Raises:
        InvalidEvent: there is no card, or it does not decode.
    """
    try:
        flat: Flat = msgspec.json.decode((folder / "card.json").read_bytes())["flat"]
    except (OSError, KeyError, msgspec.MsgspecError) as error:
        raise InvalidEvent("corpus", f"the data card of {folder.name}: {error}") from error
    return flat


def _part(examples: Sequence[Example]) -> dict[str, Any]:
    lengths = [len(one.text) + len(one.pair) for one in examples] or [0]
    values = [one.value for one in examples if one.value is not None]
    told: dict[str, Any] = {
        "examples": len(examples),
        "groups": len({one.group for one in examples if one.group}),
        "characters": {
            "median": float(np.median(lengths)),
            "p95": float(np.percentile(lengths, 95)),
            "longest": max(lengths),
        },
        "labels": _counts(one.label for one in examples),
        "slices": _counts(one.slice for one in examples),
    }
    if values:
        told["values"] = {
            "mean": float(np.mean(values)), "least": min(values), "most": max(values),
        }  # fmt: skip
    return told


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(name for name in names if name).items()))


def _shares(train: Sequence[Example]) -> dict[str, float]:
    counts = Counter(one.origin for one in train)
    return {
        origin: round(counts[origin] / max(1, len(train)), 4)
        for origin in ("weak", "person", "augmented")
    }
