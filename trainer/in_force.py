"""What the decider has in force, read from the topics: live ranker weights and named versions."""

from __future__ import annotations

import numpy as np

from adapters.kafka import Follower
from core.features import FEATURE_NAMES, feature_schema_hash
from core.ranking import RankerWeights
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.models import ModelPointer, Weights
from schemas.topics import Topic
from trainer.recommend.evaluate import SURFACES

READ_WITHIN_S = 15.0


def live_weights(settings: Settings, task: str) -> dict[str, RankerWeights]:
    """The newest live weights by surface, or nothing unless every surface has usable ones.

    Raises:
        Unavailable: the broker did not answer in time.
    """
    found: dict[str, Weights] = {}
    for record in _records(settings, topics.WEIGHTS):
        if isinstance(record, Weights) and record.task == task and record.role == "live":
            found[record.surface] = record
    usable = {
        surface: RankerWeights(
            names=tuple(record.names),
            coef=np.asarray(record.coef, np.float64),
            bias=record.bias,
            version=record.version,
        )
        for surface, record in found.items()
        if record.feature_schema == feature_schema_hash() and tuple(record.names) == FEATURE_NAMES
    }
    return usable if all(surface in usable for surface in SURFACES) else {}


def named_versions(settings: Settings, task: str) -> set[str]:
    """Every version that the pointer of a task names.

    Raises:
        Unavailable: the broker did not answer in time.
    """
    named: set[str] = set()
    for pointer in _records(settings, topics.MODELS):
        if isinstance(pointer, ModelPointer) and pointer.task == task:
            roles = ("champion", "challenger", "canary", "control", "previous")
            versions = [getattr(pointer, role) for role in roles]
            named = {version for version in versions if version} | set(pointer.manifest_sha256)
    return named


def _records(settings: Settings, topic: Topic) -> list[Weights | ModelPointer]:
    decode = Decoder(topic.record)
    reader = Follower(settings, (topic,))
    try:
        found = reader.catch_up(READ_WITHIN_S)
    finally:
        reader.close()
    return [decode(message.value()) for _, message in found if message.value() is not None]
