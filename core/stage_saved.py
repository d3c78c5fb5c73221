"""The state of the task stage as plain values; what lets it go on exactly after a restart."""

from __future__ import annotations

import msgspec

from core.drift import SavedDrift
from core.metrics import SavedMetrics
from core.offline_tasks import SavedOffline
from core.online_learning import SavedLearning
from core.pairs import Requests
from core.promotion import DeciderState
from core.retrain_policy import PolicyState
from core.seen import Seen
from core.stage_records import Closed
from core.watch import SavedWatch
from schemas.models import Order, Publish
from schemas.outcomes import Running


class SavedStage(msgspec.Struct):
    """One part a field; a later part has a default, so that an older state is read as well."""

    watermark_ms: int
    records: list[Closed]
    commands: list[Publish | Order]
    seen: Seen
    requests: Requests
    metrics: SavedMetrics
    drift: SavedDrift
    policy: PolicyState
    decider: DeciderState
    learning: SavedLearning
    watch: SavedWatch = msgspec.field(default_factory=SavedWatch)
    running: list[Running] = []
    after_ms: list[int] = []
    offline: SavedOffline = msgspec.field(default_factory=SavedOffline)
