"""The online rankers of one task, one per surface: what they learn, and when weights go out.

It learns from the loop's own answers, rows shown and rows considered, at the final age; or, when
told to, at an early one with importance weights, and again from what turned positive later. The
control's weights are the live ones at the end of the burn-in, then never again others.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.metrics import label_delay_ms
from core.ranker import OnlineRanker, bounded
from core.ranking import RankerWeights
from core.settings import HOUR_MS, Settings
from schemas.models import Weights
from schemas.outcomes import JudgedList, LabelAge

PUBLISH_EVERY_MS = 6 * HOUR_MS
PUBLISH_ROWS = 5_000
PUBLISH_SOONEST_MS = 10_000
MOST_WEIGHT = 10.0
"""Rows shown by exploration weigh 1/propensity, at most this."""
MOST_EARLY = 100_000
"""Answers whose early positives are remembered until their labels are final."""
Vector = NDArray[np.float64]


class SurfaceState(msgspec.Struct):
    """Where one surface stands: the ranker as plain values, and what was last published."""

    ranker: dict[str, Any] = {}
    live: str = ""
    count: int = 0
    published_ms: int = 0
    published_rows: float = 0.0
    started_from: str = ""
    lists: int = 0
    from_ms: int | None = None
    until_ms: int | None = None


class SavedLearning(msgspec.Struct):
    """Everything that is needed to go on exactly.

    `early` holds the rows that were positive when an answer was learned early, until it is final.
    """

    model_version: str = ""
    feature_schema: str = ""
    frozen: bool = False
    control_frozen: bool = False
    control: dict[str, str] = {}
    skipped: int = 0
    surfaces: dict[str, SurfaceState] = {}
    early: dict[str, list[int]] = {}


class OnlineLearning:
    """The rankers of the champion; `start` puts those of another version in their place."""

    def __init__(self, settings: Settings, saved: SavedLearning | None = None) -> None:
        self._task = settings.task
        waits = label_delay_ms(settings, settings.learning_age) >= settings.purchase_window_ms
        self._age: LabelAge = "final" if waits else settings.learning_age
        self.state = saved or SavedLearning()
        self._rankers = {
            name: OnlineRanker.from_dict(surface.ranker)
            for name, surface in self.state.surfaces.items()
            if surface.ranker
        }

    def start(self, version: str, ranker: list[Weights], now_ms: int) -> list[Weights]:
        """Begins at a version's own weights; a surface that it brings none for goes on as it is."""
        self.state.model_version = version
        for weights in sorted(ranker, key=lambda one: one.surface):
            self.state.feature_schema = weights.feature_schema or self.state.feature_schema
            start = RankerWeights(
                tuple(weights.names), np.asarray(weights.coef), weights.bias, weights.version
            )
            self._rankers[weights.surface] = OnlineRanker.from_weights(start)
            state = self.state.surfaces.setdefault(weights.surface, SurfaceState())
            state.started_from, state.lists = weights.version, 0
            state.from_ms = state.until_ms = None
        return [self._publish(surface, now_ms) for surface in sorted(self._rankers)]

    def learn(self, judged: JudgedList, known: float = 1.0) -> None:
        """Takes in one answer of the loop at an age that is learned at; others are left alone.

        `known` is the share of final positives that is known at its age. An answer that cannot
        be learned from is counted; one without features is not meant to be: its shopper refused.
        """
        state = self.state
        if state.frozen or not judged.features or judged.age not in ("final", self._age):
            return
        judged = _with_features(judged)
        rows = np.asarray(judged.features, np.float32)
        usable = judged.feature_schema in ("", state.feature_schema or judged.feature_schema)
        if not usable or len(judged.labels) != len(rows) or not np.isfinite(rows).all():
            state.skipped += 1
            return
        state.feature_schema = state.feature_schema or judged.feature_schema
        weights = _row_weights(judged, len(rows))
        early = judged.age != "final"
        if early:
            self._remember(judged)
        elif self._age != "final":
            weights *= _turned(judged.labels, state.early.pop(judged.prediction_id, []))
            if not weights.any():
                return
        ranker = self._rankers.get(judged.surface)
        if ranker is None:
            ranker = self._rankers[judged.surface] = self._begun()
        labels = np.asarray(judged.labels, np.float64)
        ranker.learn(rows, labels, weights, known if early else None)
        if early or self._age == "final":
            self._note(judged)

    def close(self, now_ms: int) -> list[Weights]:
        """Live weights that are due: six hours, or 5,000 rows, after the last ones."""
        if not self.state.model_version:
            return []
        due = [surface for surface in sorted(self._rankers) if self._due(surface, now_ms)]
        return [self._publish(surface, now_ms) for surface in due]

    def freeze_control(self, control: str, now_ms: int) -> list[Weights]:
        """Ends the burn-in: the weights as they are now become the control's for good."""
        self.state.control_frozen = True
        frozen = [self._weights(surface, "control", now_ms) for surface in sorted(self._rankers)]
        self.state.control = {weights.surface: weights.version for weights in frozen}
        return [msgspec.structs.replace(weights, model_version=control) for weights in frozen]

    def live_versions(self) -> dict[str, str]:
        """The newest published weights version by "task/surface"."""
        return {f"{self._task}/{n}": s.live for n, s in self.state.surfaces.items() if s.live}

    def save(self) -> SavedLearning:
        """State as plain values."""
        for name, ranker in self._rankers.items():
            self.state.surfaces.setdefault(name, SurfaceState()).ranker = ranker.to_dict()
        return self.state

    def _begun(self) -> OnlineRanker:
        """The ranker of a surface that no version brings weights for: as `home` is now."""
        home = self._rankers.get("home")
        return OnlineRanker() if home is None else OnlineRanker.from_weights(home.weights("home"))

    def _remember(self, judged: JudgedList) -> None:
        """Keeps which rows were positive already; few are, and final ages take them out again."""
        positive = [row for row, label in enumerate(judged.labels) if label > 0]
        if positive:
            self.state.early[judged.prediction_id] = positive
            while len(self.state.early) > MOST_EARLY:
                del self.state.early[next(iter(self.state.early))]

    def _note(self, judged: JudgedList) -> None:
        """Provenance: how many answers, and from when."""
        state = self.state.surfaces.get(judged.surface)
        if state is None:
            state = self.state.surfaces[judged.surface] = SurfaceState()
        at_ms = judged.served_at_ms
        state.lists += 1
        state.from_ms = at_ms if state.from_ms is None else min(state.from_ms, at_ms)
        state.until_ms = at_ms if state.until_ms is None else max(state.until_ms, at_ms)

    def _due(self, surface: str, now_ms: int) -> bool:
        ranker, state = self._rankers[surface], self.state.surfaces.get(surface, SurfaceState())
        fresh, waited = ranker.progress.rows - state.published_rows, now_ms - state.published_ms
        if fresh <= 0 or bounded(ranker.weights("candidate")) is not None:
            return False
        many = fresh >= PUBLISH_ROWS and waited >= PUBLISH_SOONEST_MS
        return waited >= PUBLISH_EVERY_MS or many

    def _publish(self, surface: str, now_ms: int) -> Weights:
        state = self.state.surfaces.setdefault(surface, SurfaceState())
        state.count += 1
        state.published_ms = now_ms
        state.published_rows = self._rankers[surface].progress.rows
        weights = self._weights(surface, "live", now_ms)
        state.live = weights.version
        return weights

    def _weights(self, surface: str, role: Literal["live", "control"], now_ms: int) -> Weights:
        ranker, state = self._rankers[surface], self.state.surfaces.get(surface, SurfaceState())
        version = f"{self.state.model_version}/{surface}/{state.count}"
        current = ranker.weights(version if role == "live" else f"{version}-control")
        return Weights(
            task=self._task,
            surface=surface,
            role=role,
            model_version=self.state.model_version,
            version=current.version,
            event_time_ms=now_ms,
            feature_schema=self.state.feature_schema,
            names=list(current.names),
            coef=current.coef.tolist(),
            bias=current.bias,
            examples=int(ranker.progress.rows),
            log_loss=ranker.progress.log_loss,
            frozen=role == "control",
            started_from=state.started_from,
            lists=state.lists,
            data_from_ms=state.from_ms,
            data_until_ms=state.until_ms,
            label_age=self._age,
        )


def _turned(labels: list[int], early: list[int]) -> Vector:
    """1 for rows that turned positive since they were learned early, 0 for the others."""
    turned = np.asarray(labels, np.float64) > 0
    turned[early] = False
    return turned.astype(np.float64)


def _with_features(judged: JudgedList) -> JudgedList:
    """The answer without the items that a rule pinned: they have no features."""
    kept = [at for at, row in enumerate(judged.features) if row]
    if len(kept) == len(judged.features) or len(judged.labels) != len(judged.features):
        return judged
    return msgspec.structs.replace(
        judged,
        features=[judged.features[at] for at in kept],
        labels=[judged.labels[at] for at in kept],
        propensities=[judged.propensities[at] for at in kept if at < len(judged.propensities)],
    )


def _row_weights(judged: JudgedList, n: int) -> Vector:
    weights = np.ones(n)
    for i, propensity in enumerate(judged.propensities[:n]):
        if propensity < 1.0:
            weights[i] = min(MOST_WEIGHT, 1 / max(propensity, 1e-6))
    return weights
