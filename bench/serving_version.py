"""Real signed versions over a catalogue of any size, for the measurements of serving.

The network has the trainer's own shape and leaves by the trainer's own export; its weights are
random, with item biases by popularity, and titles add nothing to them, because what an answer
costs does not depend on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from core.features import FEATURE_NAMES, feature_schema_hash
from core.item_text import TEXT_WIDTH
from core.model_version import RANKER, VOCABULARY, digest, identified
from core.sequence import HISTORY_LENGTH, SequenceVocabulary
from core.settings import Settings
from schemas.codec import encode
from schemas.models import Gate, Manifest

TASK = "recommend"
WEIGHED = {
    "own": 1.0,
    "own_count": 0.6,
    "own_recency": 1.2,
    "popularity_7d": 0.3,
    "cooccurrence": 0.2,
    "cooccurrence_session": 0.2,
    "sequence": 0.4,
    "like_baskets": 0.2,
    "price_distance": -0.1,
    "position": -0.4,
}
"""Weights of the size that the trainer fits on Online Retail."""


@dataclass
class Versions:
    """Makes versions of one catalogue and keeps the table that the next one varies."""

    settings: Settings
    item_ids: Sequence[str]
    surfaces: Sequence[str] = ("home", "discover")
    names: list[str] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)

    def make(self, seed: int) -> str:
        """Exports, signs and stores one version; returns its name. Takes seconds at 100,000 items.

        Its ranker weights, version `shipped-SEED`, differ from every other seed's.
        """
        import torch

        from adapters.artefacts import ArtefactStore
        from adapters.home import artefacts_url, home_of
        from adapters.sequence_graph import SequenceGraph
        from adapters.signing import load_or_create
        from core.model_version import sha256
        from trainer.recommend.export import graph_bytes, probe_of, table_apart
        from trainer.recommend.fit import SequenceModel
        from trainer.recommend.model import SequenceNetwork, Shape
        from trainer.version import Made, store_signed

        torch.manual_seed(seed)
        text = torch.zeros(1, TEXT_WIDTH).expand(len(self.item_ids), TEXT_WIDTH)
        network = SequenceNetwork(text, Shape())
        ranks = np.arange(1, len(self.item_ids) + 1)
        network.start_at_counts((1e6 / ranks).astype(np.int64))
        model = SequenceModel(SequenceVocabulary(list(self.item_ids)), network, (), 0.0)
        graph = graph_bytes(model)
        tokens = np.random.default_rng(seed).integers(
            1, len(self.item_ids), (4, HISTORY_LENGTH), dtype=np.int64
        )
        files = {
            **table_apart(graph),
            VOCABULARY: encode(list(self.item_ids)),
            RANKER: encode(dict.fromkeys(self.surfaces, self._ranker(seed))),
        }
        manifest = identified(
            Manifest(
                task=TASK,
                version="",
                parent=None,
                retrain_id=f"bench-{seed}",
                trained_at_ms=1_700_000_000_000 + seed,
                data_from_ms=0,
                data_until_ms=1_700_000_000_000,
                offsets={},
                rows=0,
                code_revision="bench",
                lock_hash="",
                seed=seed,
                parameters={},
                gate=Gate(passed=True),
                feature_schema=feature_schema_hash(),
                vocabulary_size=len(self.item_ids),
                files=[digest(name, data) for name, data in sorted(files.items())],
                probe=probe_of(SequenceGraph(graph), tokens),
            )
        )
        made = store_signed(
            ArtefactStore(artefacts_url(self.settings)),
            load_or_create(home_of(self.settings)),
            Made(manifest, files, manifest.gate, {}),
        )
        name = made.manifest.version
        self.names.append(name)
        self.digests[name] = sha256(made.manifest_bytes)
        return name

    @staticmethod
    def _ranker(seed: int) -> dict[str, object]:
        coef = [WEIGHED.get(name, 0.0) + 1e-3 * seed for name in FEATURE_NAMES]
        return {
            "names": list(FEATURE_NAMES),
            "coef": coef,
            "bias": -2.0,
            "version": f"shipped-{seed}",
        }
