"""A version of a text task: its files, its probe, and its manifest, which hold no wall time.

Files are those of the model's Hugging Face directory, the graph as trained, what speaks for each
label, and the chosen smaller form, if one is. Which is chosen follows from measured latency, as the
task's compress stage says.
A version has no folders, so that a slash in a name is written as two dashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tokenizers import Tokenizer

from adapters.artefacts import ArtefactStore
from adapters.onnx_text import TextGraph
from adapters.version_files import load_manifest
from core.gate import verdict
from core.model_version import digest, identified, sha256
from schemas.errors import RejectedModel
from schemas.models import Gate, Manifest, Probe, Variant
from trainer.corpus.card import read_flat_card
from trainer.corpus.examples import Corpus, Example, read_corpus
from trainer.explain.report import EXPLAIN
from trainer.provenance import code_revision, lock_hash
from trainer.run_dir import RECORD, RunDir
from trainer.search.published import (
    PAIR_GRAPH,
    VECTOR_GRAPH,
    probed_pairs,
    probed_queries,
    served_files,
)
from trainer.task import Task
from trainer.text_run import TUNE, TUNING, TextRun
from trainer.tune.parameters import TUNED
from trainer.version import Made

PROBED = 8
EXACT, ROUNDED = 1e-4, 0.05
"""How far answers may be off elsewhere: int8 activations are rounded by what the CPU computed."""
GRAPH, WHOLE = "text.onnx", "fp32"
_FOLDED = "--"
_TIMED = ("_ms", "_s", "seconds")
Scalar = float | int | str | bool


class _Line(msgspec.Struct):
    """A line of pareto.json, as far as a manifest holds it."""

    variant: Variant


@dataclass(frozen=True)
class Told:
    """What is known of a version beside its data; without a time it is as old as they are."""

    retrain_id: str
    trained_at_ms: int | None = None
    offsets: Mapping[str, int] = field(default_factory=dict)


def text_version(made_by: TextRun, told: Told) -> Made:
    """The version that the stages in a run's folder have made.

    Raises:
        RejectedModel: the graph does not answer its own probe.
    """
    task, run = made_by.task, made_by.run
    champion = made_by.champion
    corpus = read_corpus(run.corpus)
    report = msgspec.json.decode((run.judged / "report.json").read_bytes())
    judged = msgspec.convert(report["gate"], Gate)
    searches = task.kind == "search"
    files = dict(_search_files(run) if searches else _files(run))
    if made_by.studied:
        files[TUNING] = (run.folder(TUNE) / TUNING).read_bytes()
    steady = verdict([one for one in judged.checks if not _is_timed(one.name)])
    variants = _variants(run.judged if searches else run.variants)
    graph = VECTOR_GRAPH if searches else GRAPH
    served = next((f"{one.name}.onnx" for one in variants if one.chosen), graph)
    times = [one.at_ms for one in (*corpus.train, *corpus.valid, *corpus.test) if one.at_ms]
    manifest = Manifest(
        task=task.task,
        version="",
        parent=champion.version if champion is not None else None,
        retrain_id=told.retrain_id,
        trained_at_ms=max(times, default=0) if told.trained_at_ms is None else told.trained_at_ms,
        data_from_ms=min(times, default=0),
        data_until_ms=max(times, default=0),
        offsets=dict(sorted(told.offsets.items())),
        rows=len(corpus.train) + len(corpus.valid) + len(corpus.test),
        code_revision=code_revision(),
        lock_hash=lock_hash(),
        seed=task.seed,
        parameters=_parameters(task, served if served in files else graph)
        | {TUNED: _is_tuned(made_by)},
        gate=steady,
        feature_schema="",
        vocabulary_size=_tokenizer(run.judged if searches else run.model).get_vocab_size(),
        files=[digest(name, data) for name, data in sorted(files.items())],
        probe=_probe(_probed(run, corpus, searches), files[graph]),
        metrics=_figures(run, report["figures"]),
        kind=task.kind,
        card=dict(sorted(read_flat_card(run.corpus).items())),
        variants=variants,
        probes=_probes(run, corpus, searches, files, served),
    )
    return Made(identified(manifest), files, judged, {})


def champion_folder(
    store: ArtefactStore, task: str, version: str, key: Ed25519PublicKey, folder: Path
) -> Manifest:
    """Writes a stored version's model folder once its signature and digests hold.

    Raises:
        RejectedModel: the version is not what was signed.
    """
    manifest = load_manifest(store, task, version, key)
    for entry in manifest.files:
        data = store.get(task, version, entry.path)
        if sha256(data) != entry.sha256:
            raise RejectedModel("digest_mismatch", f"{version}/{entry.path} is not what was signed")
        path = folder / entry.path.replace(_FOLDED, "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return manifest


def _search_files(run: RunDir) -> Iterator[tuple[str, bytes]]:
    yield from _model_files(run)
    yield from served_files(run.judged)


def _files(run: RunDir) -> Iterator[tuple[str, bytes]]:
    yield from _model_files(run)
    yield GRAPH, (run.judged / GRAPH).read_bytes()
    explained = run.judged / EXPLAIN
    if explained.exists():
        yield EXPLAIN, explained.read_bytes()
    for one in _variants(run.variants):
        if one.chosen and one.name != WHOLE:
            yield f"{one.name}.onnx", (run.variants / f"{one.name}.onnx").read_bytes()


def _model_files(run: RunDir) -> Iterator[tuple[str, bytes]]:
    for path in sorted(run.model.rglob("*")):
        if path.is_file() and path.name != RECORD:
            yield str(path.relative_to(run.model)).replace("/", _FOLDED), path.read_bytes()


def _variants(folder: Path) -> list[Variant]:
    """The table of smaller forms; how long an answer took differs from run to run."""
    path = folder / "pareto.json"
    if not path.exists():
        return []
    found = msgspec.json.decode(path.read_bytes(), type=list[_Line])
    return [msgspec.structs.replace(one.variant, latency_ms=0.0) for one in found]


def _probed(run: RunDir, corpus: Corpus, searches: bool) -> list[list[int]]:
    if searches:
        return probed_queries(run.judged, corpus, PROBED)
    rows = (corpus.test or corpus.valid or corpus.train)[:PROBED]
    return [_tokens(run, one) for one in rows]


def _probes(
    run: RunDir, corpus: Corpus, searches: bool, files: Mapping[str, bytes], served: str
) -> dict[str, Probe]:
    """What is served beside, or in place of, the graph of the manifest's first probe."""
    if searches:
        name, tokens = PAIR_GRAPH, probed_pairs(run.judged, corpus, PROBED)
        rounded = served != VECTOR_GRAPH and served != f"{WHOLE}.onnx"
    else:
        name, tokens, rounded = served, _probed(run, corpus, searches), True
        if name == GRAPH or name not in files:
            return {}
    return {name: _tolerant(_probe(tokens, files[name]), ROUNDED if rounded else EXACT)}


def _tolerant(probe: Probe, share: float) -> Probe:
    """The probe with a tolerance that is a share of its largest answer, or of 1."""
    largest = max((abs(one) for row in probe.outputs for one in row), default=0.0)
    return msgspec.structs.replace(probe, tolerance=share * max(largest, 1.0))


def _probe(tokens: list[list[int]], graph: bytes) -> Probe:
    session = TextGraph(graph)
    outputs = [session.run(np.asarray([ids]), np.ones((1, len(ids)), np.int64)) for ids in tokens]
    if not all(np.isfinite(row).all() for row in outputs):
        raise RejectedModel("wrong_answers", "the graph gives numbers that are not finite")
    return Probe(histories=tokens, outputs=[row[0].astype(float).tolist() for row in outputs])


def _tokens(run: RunDir, example: Example) -> list[int]:
    tokenizer = _tokenizer(run.model)
    found = (
        tokenizer.encode(example.text, example.pair)
        if example.pair
        else tokenizer.encode(example.text)
    )
    ids: list[int] = found.ids
    return ids


def _tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    return tokenizer


def _parameters(task: Task, graph: str) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {"graph": graph, "language": task.language}
    for section in ("pretrain", "finetune", "search", "compress", "gate"):
        found |= _flat(section, msgspec.to_builtins(getattr(task, section)))
    return dict(sorted(found.items()))


def _flat(prefix: str, value: Any) -> dict[str, Scalar]:
    if isinstance(value, dict):
        parts = [_flat(f"{prefix}.{name}", each) for name, each in value.items()]
        return {name: each for part in parts for name, each in part.items()}
    if isinstance(value, list | tuple):
        return {prefix: ",".join(map(str, value))} if value else {}
    return {} if value is None else {prefix: value}


def _figures(run: RunDir, judged: dict[str, float]) -> dict[str, float]:
    found = dict(judged)
    for stage in ("pretrain", "finetune"):
        record = run.record(stage)
        if record is not None:
            found |= {f"{stage}.{name}": value for name, value in record.figures.items()}
    return {name: value for name, value in sorted(found.items()) if not _is_timed(name)}


def _is_tuned(run: TextRun) -> bool:
    """Whether a study chose the parameters, this training's or one that the champion goes by."""
    return run.studied or (run.champion is not None and bool(run.champion.parameters.get(TUNED)))


def _is_timed(name: str) -> bool:
    return name.endswith(_TIMED)
