"""What answers at one moment: versions and ranker weights as one value that is swapped whole.

It loads nothing; `serving/versions.py` builds it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from adapters.onnx import LoadedVersion
from core.canary import in_canary
from core.features import FEATURE_NAMES, feature_schema_hash
from core.plain_weights import PLAIN
from core.ranking import RankerWeights
from core.weight_bounds import bounded
from schemas.models import ModelPointer, Weights
from schemas.predictions import Arm

_PROBE = np.eye(len(FEATURE_NAMES), dtype=np.float32)
DEFAULT_SURFACE = "home"


@dataclass(frozen=True)
class Engine:
    """Versions in use by role and weights by surface; one answer uses one of these and no other."""

    champion: LoadedVersion | None = None
    challenger: LoadedVersion | None = None
    control: LoadedVersion | None = None
    canary: LoadedVersion | None = None
    pointer: ModelPointer | None = None
    live: Mapping[str, RankerWeights] = field(default_factory=dict)
    frozen: Mapping[str, RankerWeights] = field(default_factory=dict)

    def answers(self, visitor_id: str) -> tuple[LoadedVersion | None, Arm]:
        """The version that answers this visitor, and its arm; the champion until a canary loads."""
        canary, pointer = self.canary, self.pointer
        if canary is None or pointer is None or canary.version != pointer.canary:
            return self.champion, "champion"
        if in_canary(visitor_id, canary.version, pointer.canary_percent):
            return canary, "canary"
        return self.champion, "champion"

    def live_weights(self, version: LoadedVersion, surface: str) -> RankerWeights:
        """The newest good weights of the surface, else those the version shipped with, else home's.

        A surface that no weights are learned for is ranked by what is learned on `home`.
        """
        return self.weights(version, surface)

    def weights(
        self, version: LoadedVersion | None, surface: str, *, live: bool = True
    ) -> RankerWeights:
        """As `live_weights`, of what there is: without a version, or without those learned live.

        Where nothing is left, weights that nobody learned.
        """
        learned = self.live if live else {}
        shipped = version.ranker if version is not None else {}
        return (
            learned.get(surface)
            or shipped.get(surface)
            or learned.get(DEFAULT_SURFACE)
            or shipped.get(DEFAULT_SURFACE)
            or next(iter(shipped.values()), PLAIN)
        )

    def control_weights(self, version: LoadedVersion, surface: str) -> RankerWeights:
        """The weights frozen at the end of the burn-in; until then the live ones."""
        return self.frozen.get(surface) or self.live_weights(version, surface)

    def with_weights(self, weights: Weights) -> "Engine":
        """The engine with these weights in their place."""
        value = ranker_weights(weights)
        if weights.role == "control":
            return replace(self, frozen={**self.frozen, weights.surface: value})
        return replace(self, live={**self.live, weights.surface: value})


def ranker_weights(weights: Weights) -> RankerWeights:
    """A `weights` record as the ranking takes it."""
    coef = np.asarray(weights.coef, np.float64)
    return RankerWeights(tuple(weights.names), coef, weights.bias, weights.version)


def refusal(weights: Weights) -> str | None:
    """Why these weights must not be applied, or None."""
    if weights.feature_schema != feature_schema_hash():
        return f"weights {weights.version} were learned on schema {weights.feature_schema}"
    return bounded(ranker_weights(weights), _PROBE)
