"""The champion as the trainer needs it: verified, scoring, and ready to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from adapters.artefacts import ArtefactStore
from adapters.onnx import load_version
from core.features import feature_schema_hash
from core.model_version import STATE
from core.sequence import SequenceScores
from trainer.recommend.evaluate import Scorer
from trainer.recommend.export import parent_of
from trainer.recommend.fit import Parent, SequenceModel

BATCH = 64


@dataclass(frozen=True)
class Champion:
    """One version in force: what it was trained up to, its weights, and how it scores."""

    version: str
    data_until_ms: int
    weights: Parent
    scorer: Scorer


def load_champion(
    store: ArtefactStore, task: str, version: str, verify_key: Ed25519PublicKey
) -> Champion:
    """The version, verified as serving verifies it; raises RejectedModel when it is not sound."""
    loaded = load_version(store, task, version, verify_key, feature_schema_hash())
    state = store.get(task, version, STATE)

    def score(histories: Sequence[Sequence[str]]) -> list[SequenceScores]:
        batches = [histories[i : i + BATCH] for i in range(0, len(histories), BATCH)]
        return [said for batch in batches for said in loaded.sequences(batch)]

    weights = parent_of(loaded.vocabulary, state)
    return Champion(version, loaded.manifest.data_until_ms, weights, score)


def scorer_of(model: SequenceModel) -> Scorer:
    """How a fitted network scores histories."""
    served = model.served()

    def score(histories: Sequence[Sequence[str]]) -> list[SequenceScores]:
        log_probs = model.log_probs(histories, served)
        return [SequenceScores(row, model.vocabulary) for row in log_probs]

    return score
