"""Loaded versions within a memory budget; each is verified and warmed up whenever it is loaded."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from adapters.artefacts import ArtefactStore
from adapters.clock import breathe
from adapters.home import artefacts_url, home_of
from adapters.onnx import GRAPH_ERRORS, LoadedVersion, load_version
from adapters.signing import load_verify_key
from adapters.version_files import load_manifest, no_rest
from core.features import feature_schema_hash
from core.model_version import MANIFEST, sha256
from core.sequence import SequenceVocabulary
from core.settings import Settings
from core.version_memory import Claim, Held, make_room, memory_bytes
from core.weight_bounds import bounded
from schemas.errors import BadSettings, RejectedModel

WARM_UP_BATCHES = (1, 10)
OVER_BUDGET = "over_budget"
_MEGABYTE = 1_000_000

log = logging.getLogger(__name__)


class Library:
    """Versions that are ready to answer, least recently used first; for one thread.

    Args:
        settings: the task, where versions and the key are, and the memory budget.
        prepare: makes ready, before a version is used, what the state looks up by its vocabulary.

    Raises:
        BadSettings: there is no room for any version.
    """

    def __init__(
        self, settings: Settings, prepare: Callable[[SequenceVocabulary], None] | None = None
    ) -> None:
        if settings.versions_memory_mb < 1:
            raise BadSettings("SHOPLOOP_VERSIONS_MEMORY_MB: expected 1 or more")
        self.budget_bytes = settings.versions_memory_mb * _MEGABYTE
        self.prepare = prepare
        self._settings = settings
        self._store = ArtefactStore(artefacts_url(settings))
        self._loaded: OrderedDict[str, tuple[LoadedVersion, int]] = OrderedDict()

    @property
    def sizes(self) -> dict[str, int]:
        """About how many bytes each loaded version takes."""
        return {name: size for name, (_, size) in list(self._loaded.items())}

    def loaded(self, name: str | None) -> LoadedVersion | None:
        """The version, if it is loaded; then it counts as used now."""
        found = self._loaded.get(name) if name is not None else None
        if found is None or name is None:
            return None
        self._loaded.move_to_end(name)
        return found[0]

    def ready(
        self,
        name: str,
        manifest_sha256: str,
        claims: Mapping[str, Claim],
        give_way: Callable[[list[str]], None],
    ) -> LoadedVersion:
        """The version, verified and warmed up, in place of others where memory is short.

        Args:
            name: the version.
            manifest_sha256: what the pointer says of its manifest; empty when it says nothing.
            claims: why other versions stay; one not named may go.
            give_way: told of versions that are about to go although they had a claim.

        Raises:
            RejectedModel: the artefact must not be served, or does not fit beside what stays.
            Unavailable: the artefacts or the key cannot be read now.
        """
        known = self.loaded(name)
        if known is not None:
            return known
        started = time.perf_counter()
        size_bytes = self._announced(name, manifest_sha256)
        self._make_room(name, size_bytes, claims, give_way)
        version = self._load(name)
        self._loaded[name] = version, size_bytes
        log.info("loaded version %s in %.0f ms", name, (time.perf_counter() - started) * 1e3)
        return version

    def _announced(self, name: str, manifest_sha256: str) -> int:
        """What the version will take, by its manifest; that is the one that was announced."""
        settings = self._settings
        data = self._store.get(settings.task, name, MANIFEST)
        if manifest_sha256 and sha256(data) != manifest_sha256:
            raise RejectedModel("digest_mismatch", f"{name}: the manifest is not the announced one")
        key = load_verify_key(home_of(settings))
        return memory_bytes(load_manifest(self._store, settings.task, name, key).files)

    def _make_room(
        self,
        name: str,
        size_bytes: int,
        claims: Mapping[str, Claim],
        give_way: Callable[[list[str]], None],
    ) -> None:
        held = [Held(each, size, claims.get(each, Claim.NONE)) for each, size in self.sizes.items()]
        gone = make_room(held, size_bytes, self.budget_bytes)
        if gone is None:
            raise RejectedModel(
                OVER_BUDGET,
                f"{name} takes about {size_bytes // _MEGABYTE} MB beside versions of "
                f"{sum(each.size_bytes for each in held) // _MEGABYTE} MB in use, and the budget "
                f"is {self.budget_bytes // _MEGABYTE} MB",
            )
        claimed = [each for each in gone if claims.get(each, Claim.NONE) is not Claim.NONE]
        if claimed:
            give_way(claimed)
        for each in gone:
            del self._loaded[each]

    def _load(self, name: str) -> LoadedVersion:
        key = load_verify_key(home_of(self._settings))
        task, schema = self._settings.task, feature_schema_hash()
        rest = breathe if self._loaded else no_rest  # with no version yet, nobody waits for less
        version = load_version(self._store, task, name, key, schema, rest)
        for surface, weights in version.ranker.items():
            reason = bounded(weights)
            if reason is not None:
                raise RejectedModel("malformed_file", f"{name}: ranker of {surface}: {reason}")
        if not version.ranker:
            raise RejectedModel("malformed_file", f"{name}: there is no ranker")
        _warm_up(version)
        if self.prepare is not None:
            self.prepare(version.words)
        return version


def _warm_up(version: LoadedVersion) -> None:
    """Has batches scored as answers have; raises RejectedModel when they come in another shape."""
    expected = (len(version.vocabulary),)
    for size in WARM_UP_BATCHES:
        histories = [[item] for item in version.vocabulary[:size]]
        try:
            shapes = {said.log_probs.shape for said in version.sequences(histories)}
        except GRAPH_ERRORS as error:
            raise RejectedModel(
                "wrong_answers", f"{version.version} fails on {size} rows: {error}"
            ) from error
        if shapes - {expected}:
            raise RejectedModel(
                "wrong_answers", f"{version.version} answers {shapes}, expected {expected} a row"
            )
