"""The manifest of a version, its signature, and the records that announce it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.artefacts import ArtefactStore
from adapters.signing import sign
from adapters.version_files import load_manifest
from core.features import feature_schema_hash
from core.model_version import MANIFEST, SIGNATURE, digest, identified, sha256
from core.ranking import RankerWeights
from core.settings import Settings
from schemas.codec import encode
from schemas.errors import RejectedModel
from schemas.ids import derived_id
from schemas.models import Gate, Manifest, Probe, Publish, Retrain, Weights
from trainer.provenance import code_revision, lock_hash
from trainer.recommend.candidate import Candidate, Job
from trainer.recommend.recipes import REFIT, as_parameters, with_settings

Parameters = dict[str, float | int | str | bool]


@dataclass(frozen=True)
class Made:
    """A version as it is stored and announced; `gate` also holds what is no part of its id."""

    manifest: Manifest
    files: Mapping[str, bytes]
    gate: Gate
    ranker: Mapping[str, RankerWeights]
    losses: tuple[float, ...] = ()

    @property
    def manifest_bytes(self) -> bytes:
        """What is signed."""
        return encode(self.manifest)


def manifest_of(
    job: Job,
    candidate: Candidate,
    settings: Settings,
    gate: Gate,
    probe: Probe,
    files: Mapping[str, bytes],
) -> Manifest:
    """The manifest with the id that its content gives it; it holds no wall time."""
    retrain = job.retrain
    return identified(
        Manifest(
            task=retrain.task,
            version="",
            parent=job.champion.version if job.champion is not None else None,
            retrain_id=retrain.retrain_id,
            trained_at_ms=published_at_ms(retrain, settings),
            data_from_ms=job.data.from_ms,
            data_until_ms=job.data.until_ms,
            offsets=dict(sorted(retrain.offsets.items())),
            rows=job.data.rows,
            code_revision=code_revision(),
            lock_hash=lock_hash(),
            seed=settings.seed,
            parameters=_parameters(job, candidate, settings, gate),
            gate=gate,
            feature_schema=feature_schema_hash(),
            vocabulary_size=len(candidate.model.vocabulary),
            files=[digest(name, data) for name, data in sorted(files.items())],
            probe=probe,
            metrics=dict(sorted(candidate.judged.figures().items())),
            card=dict(sorted(candidate.card.items())),
        )
    )


def store_signed(store: ArtefactStore, key: Ed25519PrivateKey, made: Made) -> Made:
    """Writes the version with its manifest and signature; raises Unavailable.

    A version that is there already keeps the wall times of its forms, all that can differ: the
    digest that was announced must hold.
    """
    task, version = made.manifest.task, made.manifest.version
    with suppress(RejectedModel):
        there = load_manifest(store, task, version, key.public_key())
        timed = msgspec.structs.replace(made.manifest, variants=there.variants)
        made = replace(made, manifest=timed)
    data = made.manifest_bytes
    files = {**made.files, MANIFEST: data, SIGNATURE: sign(key, data)}
    store.put(task, version, files)
    return made


def publish_of(retrain: Retrain, settings: Settings, made: Made) -> Publish:
    """The offer of a version; the same retrain gives the same command id.

    It brings ranker weights only where they were fitted here: those in force have learned on by the
    time the version is promoted, and are better than what they were at its training.
    """
    at_ms = published_at_ms(retrain, settings)
    version = made.manifest.version
    fitted = [] if made.manifest.parameters["ranker_in_force"] else _sorted(made)
    return Publish(
        command_id=command_id(retrain),
        task=retrain.task,
        retrain_id=retrain.retrain_id,
        event_time_ms=at_ms,
        model_version=version,
        manifest_sha256=sha256(made.manifest_bytes),
        gate=made.gate,
        ranker=[_weights(retrain, surface, w, version, at_ms) for surface, w in fitted],
        data_until_ms=made.manifest.data_until_ms,
    )


def failure_of(retrain: Retrain, settings: Settings, reason: str) -> Publish:
    """The statement that a training failed."""
    return Publish(
        command_id=command_id(retrain),
        task=retrain.task,
        retrain_id=retrain.retrain_id,
        event_time_ms=published_at_ms(retrain, settings),
        failed=reason,
    )


def command_id(retrain: Retrain) -> str:
    """The id of the one Publish that answers a retrain."""
    return derived_id("publish", retrain.retrain_id)


def published_at_ms(retrain: Retrain, settings: Settings) -> int:
    """Event time at which the version counts as trained: the retrain's, plus what it costs."""
    return retrain.event_time_ms + settings.training_cost_ms


def _sorted(made: Made) -> list[tuple[str, RankerWeights]]:
    return sorted(made.ranker.items())


def _weights(
    retrain: Retrain, surface: str, weights: RankerWeights, version: str, at_ms: int
) -> Weights:
    return Weights(
        task=retrain.task,
        surface=surface,
        role="live",
        model_version=version,
        version=weights.version,
        event_time_ms=at_ms,
        feature_schema=feature_schema_hash(),
        names=list(weights.names),
        coef=weights.coef.tolist(),
        bias=weights.bias,
    )


def _parameters(job: Job, candidate: Candidate, settings: Settings, gate: Gate) -> Parameters:
    found: Parameters = {
        **as_parameters("fit", with_settings(job.fit_recipe, settings)),
        "warm_start": job.champion is not None,
        "holdout_after_ms": candidate.after_ms,
        "refit_on_holdout": any(check.name == "refit_log_prob" for check in gate.checks),
        "ranker_in_force": bool(job.live_weights),
        **{f"dropped.{reason}": n for reason, n in job.data.dropped.items()},
    }
    if found["refit_on_holdout"]:
        found |= as_parameters("refit", with_settings(REFIT, settings))
    if job.refused:
        found["champion_refused"] = job.refused
    return dict(sorted(found.items()))
