"""Detectors of one task: errors and clicks of the champion by surface, unknown items, popularity.

Each watches the champion from its swap on against a baseline of its own, alarms in one direction
only (worse), and takes its threshold from `false_alarms_per_million` observations. It raises
evidence; whether anything follows is `retrain_policy`'s to say. It knows no clock and no topic.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from core.drift_clicks import ClickCusum
from core.drift_errors import ErrorCusum, ErrorWindow, LabelCusum, Reference
from core.drift_inputs import ItemMemory, PopularityTest, UnknownCusum
from core.drift_scan import ErrorScan
from core.drift_types import Evidence, Observed, Standing
from core.settings import Settings
from schemas.metrics import DriftKind
from schemas.outcomes import BasketSeen

KINDS: dict[str, DriftKind] = {
    "error_cusum": "concept",
    "error_adwin": "concept",
    "error_scan": "concept",
    "click_cusum": "concept",
    "no_basket_cusum": "label",
    "unknown_items_cusum": "input",
    "popularity_js": "input",
}
Chart = (
    ErrorCusum | ErrorWindow | ErrorScan | ClickCusum | LabelCusum | UnknownCusum | PopularityTest
)


class SavedDrift(msgspec.Struct):
    """Everything that is needed to go on exactly."""

    version: str
    memory: ItemMemory
    errors: dict[str, ErrorCusum]
    windows: dict[str, ErrorWindow]
    labels: dict[str, LabelCusum]
    unknown: dict[str, UnknownCusum]
    popularity: dict[str, PopularityTest]
    references: dict[str, Reference] = {}
    scans: dict[str, ErrorScan] = {}
    clicks: dict[str, ClickCusum] = {}


class Drift:
    """The detectors in force, named "surface/detector"; new ones at every change of champion."""

    def __init__(self, settings: Settings, saved: SavedDrift | None = None) -> None:
        self._budget = 1e6 / settings.false_alarms_per_million
        self._seed = settings.seed
        self._surfaces = settings.surface_names
        self.state = saved or SavedDrift("", ItemMemory(), {}, {}, {}, {}, {})

    def start(self, version: str, data_until_ms: int) -> None:
        """Watches a new champion, trained on data up to `data_until_ms`, from nothing."""
        state = self.state
        state.version = version
        for name in self._surfaces:
            self.relearn(name, "concept")
            self.relearn(name, "label")
        where = self._surfaces[0]
        state.unknown = {
            where: UnknownCusum(data_until_ms, state.memory.baseline(data_until_ms), self._budget)
        }
        test = PopularityTest(data_until_ms, self._budget, self._seed)
        test.reference = state.memory.reference(data_until_ms)
        state.popularity = {where: test}

    def judged(
        self, surface: str, at_ms: int, *, hit: bool | None, no_basket: bool
    ) -> list[Evidence]:
        """Takes in one answer of the champion at the final age; hit is None when not judged."""
        state = self.state
        if surface not in state.errors:
            return []
        found = {"no_basket_cusum": state.labels[surface].update(no_basket)}
        if hit is not None:
            found["error_cusum"] = state.errors[surface].update(not hit)
            found["error_adwin"] = state.windows[surface].update(not hit)
            found["error_scan"] = self._scan(surface).update(not hit)
        return self._evidence(surface, found, at_ms)

    def clicked(self, surface: str, at_ms: int, *, slots: int, clicks: int) -> list[Evidence]:
        """Takes in the slots of one answer of the champion at the final age, and their clicks."""
        if surface not in self.state.errors:
            return []
        chart = self._clicks(surface)
        return self._evidence(surface, {"click_cusum": chart.update(slots, clicks)}, at_ms)

    @property
    def items_known(self) -> int:
        """How many different items have been bought so far."""
        return len(self.state.memory.first_ms)

    def basket(self, basket: BasketSeen) -> list[Evidence]:
        """Takes in one order; orders before the first champion only fill the memory."""
        state, at_ms = self.state, basket.event_time_ms
        items = state.memory.add(basket.item_ids, at_ms)
        if not items or not state.version:
            return []
        surface = next(iter(state.unknown))  # the first, as settings were when it began
        chart, test = state.unknown[surface], state.popularity[surface]
        share = state.memory.unknown_share(items, chart.data_until_ms)
        found = {
            "unknown_items_cusum": chart.update(share),
            "popularity_js": test.update(items, at_ms),
        }
        return self._evidence(surface, found, at_ms)

    def standing(self, surface: str, detector: str) -> Standing:
        """Whether a detector is still over its threshold, and for how many observations."""
        return self.chart(surface, detector).standing()

    def rearm(self, surface: str, detector: str) -> None:
        """Lets a detector alarm again after its alarm was let go."""
        chart = self.chart(surface, detector)
        if isinstance(chart, ErrorScan):
            chart.forget()
        elif not isinstance(chart, PopularityTest):
            chart.raised_at = None

    def relearn(self, surface: str, kind: DriftKind) -> None:
        """Takes errors, or answers without a basket, from now on as the level to compare with."""
        if kind == "label":
            self.state.labels[surface] = LabelCusum(budget=self._budget)
            return
        self.state.errors[surface] = ErrorCusum(budget=self._budget)
        self.state.windows[surface] = ErrorWindow(budget=self._budget)
        self.state.references[surface] = Reference()
        self.state.scans[surface] = ErrorScan(budget=self._budget)
        self.state.clicks[surface] = ClickCusum(budget=self._budget)

    def compared(self, surface: str, champion_hit: bool, reference_hit: bool) -> None:
        """Takes in one request that the champion and the untrained rule both answered."""
        if surface in self.state.references:
            self.state.references[surface].add(champion_hit - reference_hit)

    def became_harder(self, surface: str) -> bool:
        """Whether errors rose without the champion losing ground to the untrained rule."""
        return self.state.references[surface].lost_ground() is False

    def no_basket(self) -> str:
        """Which surface's answers are no longer followed by baskets, or nothing."""
        over = [name for name, chart in self.state.labels.items() if chart.standing().over]
        return f"fewer answers are followed by a basket on {over[0]}" if over else ""

    def save(self) -> SavedDrift:
        """State as plain values; river's windows are left to be rebuilt."""
        windows = {
            name: msgspec.structs.replace(window, window=None)
            for name, window in self.state.windows.items()
        }
        return msgspec.structs.replace(self.state, windows=windows)

    def _scan(self, surface: str) -> ErrorScan:
        # State stored by an earlier release has neither scans nor clicks.
        return self.state.scans.setdefault(surface, ErrorScan(budget=self._budget))

    def _clicks(self, surface: str) -> ClickCusum:
        return self.state.clicks.setdefault(surface, ClickCusum(budget=self._budget))

    def chart(self, surface: str, detector: str) -> Chart:
        """The detector of that name on that surface."""
        state = self.state
        match detector:
            case "error_cusum":
                return state.errors[surface]
            case "error_adwin":
                return state.windows[surface]
            case "error_scan":
                return self._scan(surface)
            case "click_cusum":
                return self._clicks(surface)
            case "no_basket_cusum":
                return state.labels[surface]
            case "unknown_items_cusum":
                return state.unknown[surface]
        return state.popularity[surface]

    def _evidence(
        self, surface: str, found: Mapping[str, Observed | None], at_ms: int
    ) -> list[Evidence]:
        return [
            Evidence(
                surface=surface,
                detector=detector,
                kind=KINDS[detector],
                model_version=self.state.version,
                event_time_ms=at_ms,
                observed=observed,
            )
            for detector, observed in found.items()
            if observed is not None
        ]
