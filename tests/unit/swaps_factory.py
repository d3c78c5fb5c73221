"""A version follower over a folder of versions, without Kafka, for tests of swaps and refusals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from version_factory import Version, graph_bytes

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url
from adapters.signing import load_or_create
from core.features import FEATURE_NAMES
from core.settings import Settings
from schemas.codec import encode
from schemas.models import ModelLog, ModelPointer
from serving.guard import Guard
from serving.library import Library
from serving.versions import REPLICA_ROLES, Versions

WITHIN_S = 120.0


class Named(Version):
    """A version whose shipped ranker weights are named after the seed of its graph."""

    seed = 1

    def ranker(self) -> bytes:
        weights = {
            "names": list(FEATURE_NAMES),
            "coef": [0.01 * self.seed] * len(FEATURE_NAMES),
            "bias": -1.0,
            "version": f"shipped-{self.seed}",
        }
        return encode({"home": weights, "discover": weights})


@dataclass
class Replica:
    """The follower, what it has said, and a decider's hand."""

    home: Path
    library: Library
    versions: Versions
    said: list[ModelLog]
    store: ArtefactStore
    sequence: int = 0
    made: dict[int, str] = field(default_factory=dict)

    def make(self, seed: int) -> str:
        """Stores a signed version and returns its name."""
        version = Named(key=load_or_create(self.home), graph=graph_bytes(seed))
        version.seed = seed
        self.made[seed] = version.put(self.store)
        return self.made[seed]

    def point(self, champion: str | None, **fields: object) -> None:
        """Announces a pointer and waits until it is obeyed or refused."""
        self.sequence += 1
        pointer = ModelPointer(
            task="recommend",
            sequence=self.sequence,
            event_time_ms=self.sequence,
            champion=champion,
            **fields,  # type: ignore[arg-type]
        )
        self.versions.point(pointer, live=True)
        assert self.versions.settle(WITHIN_S), "the pointer was neither obeyed nor refused"

    @property
    def champion(self) -> str | None:
        """The version that answers."""
        found = self.versions.engine.champion
        return None if found is None else found.version

    @property
    def refusals(self) -> list[tuple[str, str]]:
        """Refused versions with the reason's word."""
        return [
            (entry.model_version, entry.reason.partition(":")[0])
            for entry in self.said
            if entry.kind == "refused"
        ]


@contextmanager
def following(
    home: Path, roles: tuple[str, ...] = REPLICA_ROLES, changed: Callable[[], None] = lambda: None
) -> Iterator[Replica]:
    """A follower over the versions under a home."""
    settings = Settings(home=str(home))
    load_or_create(home)
    said: list[ModelLog] = []
    guard = Guard()
    library = Library(settings)
    versions = Versions(library, roles, "serving-1", said.append, changed, guard)
    try:
        yield Replica(home, library, versions, said, ArtefactStore(artefacts_url(settings)))
    finally:
        versions.close()
        guard.check()
