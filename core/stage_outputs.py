"""What the task stage says at one close, routed: each record with its topic and key."""

from __future__ import annotations

import msgspec

from core.canary import canary_of
from schemas import topics
from schemas.metrics import Alert
from schemas.models import ModelPointer, Weights
from schemas.topics import Topic

Output = tuple[Topic, str, msgspec.Struct]

_TOPICS = {
    "Metric": topics.METRICS,
    "DriftAlarm": topics.DRIFT,
    "Retrain": topics.RETRAIN,
    "ModelLog": topics.MODEL_LOG,
    "ModelPointer": topics.MODELS,
    "Weights": topics.WEIGHTS,
    "Alert": topics.ALERTS,
}


class StageOutputs(msgspec.Struct, frozen=True):
    """What one close has to say; the five last are for `Progress`."""

    records: list[Output]
    live: dict[str, str]
    challenger: dict[str, str]
    weights: dict[str, str]
    in_flight: list[str]
    canary: dict[str, str] = {}


def outputs(
    task: str,
    said: list[msgspec.Struct],
    pointer: ModelPointer,
    weights: dict[str, str],
    in_flight: list[str],
) -> StageOutputs:
    """The records with topic and key, beside what is in force after them."""
    return StageOutputs(
        records=[(_TOPICS[type(record).__name__], _key_of(record), record) for record in said],
        live={task: pointer.champion} if pointer.champion else {},
        challenger={task: pointer.challenger} if pointer.challenger else {},
        weights=weights,
        in_flight=in_flight,
        canary=canary_of(pointer),
    )


def _key_of(record: msgspec.Struct) -> str:
    if isinstance(record, Alert):
        return record.alert_id
    task = str(getattr(record, "task"))  # noqa: B009 — every other record names its task
    return f"{task}/{record.surface}/{record.role}" if isinstance(record, Weights) else task
