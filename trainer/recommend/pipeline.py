"""One training from data to a signed, stored version: fit, judge, gate, refit, export, store.

The gate is asked about a candidate that has not seen the hold-out. When it passes, the recipe is
taken a step further on the hold-out itself, so that the version knows the newest days too; the
manifest says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from adapters.artefacts import ArtefactStore
from adapters.onnx import probe_difference
from adapters.sequence_graph import SequenceGraph
from core.gate import GRAPH_TOLERANCE, LARGEST_BYTES, SLOWEST_MS, at_most, not_below, verdict
from core.model_version import identified
from core.settings import Settings
from schemas.errors import RejectedModel
from schemas.models import GateCheck, Retrain
from trainer.explain.report import rankers_report
from trainer.recommend.candidate import (
    Candidate,
    Job,
    Weights,
    held_out_log_prob,
    make_candidate,
    refitted,
)
from trainer.recommend.checks import CANDIDATE, REFIT_MARGIN
from trainer.recommend.data import ShopData
from trainer.recommend.evaluate import candidate_rows
from trainer.recommend.export import (
    graph_bytes,
    graph_difference,
    milliseconds_each,
    probe_of,
    version_files,
)
from trainer.recommend.fit import Recipe, SequenceModel
from trainer.recommend.parent import load_champion
from trainer.recommend.past_state import PastState
from trainer.recommend.variants import RANKING_GAP, forms_of, ranking_gap, table_of
from trainer.stages import Stages
from trainer.version import Made, manifest_of, store_signed

CHECKED_ROWS = 64


@dataclass(frozen=True)
class Tools:
    """What every training uses: settings, where versions go, and the key they are signed with.

    `checkpoints` is the folder in which fits say how far they are, `recipe` what candidates are
    fitted with instead of the usual.
    """

    settings: Settings
    store: ArtefactStore
    key: Ed25519PrivateKey
    checkpoints: Path | None = None
    recipe: Recipe | None = None


class Pipeline:
    """Trains one retrain after another; keeps the shop's past state between them."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._past = PastState()

    def job(self, retrain: Retrain, data: ShopData, live_weights: Weights) -> Job:
        """The retrain with its champion; one that is not sound is left aside, on record."""
        tools = self._tools
        bare = Job(retrain, data, live_weights, checkpoints=tools.checkpoints, recipe=tools.recipe)
        if retrain.parent_version is None:
            return bare
        try:
            champion = load_champion(
                self._tools.store,
                retrain.task,
                retrain.parent_version,
                self._tools.key.public_key(),
            )
        except RejectedModel as error:
            return replace(bare, refused=f"{error.reason}: {error}")
        return replace(bare, champion=champion)

    def run(self, job: Job, stages: Stages) -> Made:
        """The stored version, whatever the gate said.

        Raises:
            RejectedModel: there is too little data to train on or to judge by.
            Unavailable: the version could not be written.
        """
        settings = self._tools.settings
        candidate = make_candidate(job, settings, self._past, stages)
        model, checks = candidate.model, list(candidate.checks)
        passed = all(check.passed for check in checks)
        with stages.stage("refit"):
            if passed:
                model = refitted(job, settings, candidate)
                checks.append(_refit_check(model, candidate))
        with stages.stage("export"):
            made = self._exported(job, candidate, model, checks)
        with stages.stage("store"):
            made = store_signed(self._tools.store, self._tools.key, made)
        job.forget_checkpoints()
        return made

    def _exported(
        self, job: Job, candidate: Candidate, model: SequenceModel, checks: list[GateCheck]
    ) -> Made:
        graph = graph_bytes(model)
        running = SequenceGraph(graph)
        requests = candidate.requests
        tokens = _tokens(model, candidate)
        probe = probe_of(running, tokens)
        steady = [
            *checks,
            at_most("graph_vs_torch", graph_difference(running, model, tokens), GRAPH_TOLERANCE),
            at_most("graph_vs_torch_ranking", ranking_gap(running, model, requests), RANKING_GAP),
            at_most("graph_bytes", float(len(graph)), LARGEST_BYTES),
            at_most("probe", probe_difference(SequenceGraph(graph), probe), probe.tolerance),
        ]
        # How long an answer took differs from run to run: it is judged, but no part of the
        # version's identity.
        timed = at_most("graph_ms", milliseconds_each(running, tokens), SLOWEST_MS)
        judged, ranker = candidate.judged, candidate.ranker
        moved = rankers_report(ranker, candidate_rows(judged, CANDIDATE))
        files = version_files(model, graph, candidate.titles, ranker, judged.state, moved)
        settings, judgement = self._tools.settings, verdict(steady)
        manifest = manifest_of(job, candidate, settings, judgement, probe, files)
        if judgement.passed:  # forms of a version that will not be served teach nothing
            forms = forms_of(model, graph, requests, settings.seed)
            variants = table_of(forms, model.vocabulary, requests, settings.seed)
            manifest = identified(msgspec.structs.replace(manifest, variants=variants))
        gate = verdict([*steady, timed])
        return Made(manifest, files, gate, candidate.ranker, candidate.model.losses)


def _tokens(model: SequenceModel, candidate: Candidate) -> NDArray[np.int64]:
    """Held-out histories as the graph takes them, the empty history among them."""
    histories = [request.history for request in candidate.requests[: CHECKED_ROWS - 1]]
    return np.stack([model.vocabulary.encode(history) for history in [*histories, ()]])


def _refit_check(model: SequenceModel, candidate: Candidate) -> GateCheck:
    """The refit has seen the hold-out: doing worse on it than before means it went wrong."""
    before = held_out_log_prob(candidate.model, candidate)
    after = held_out_log_prob(model, candidate)
    return not_below("refit_log_prob", after - before, -REFIT_MARGIN)
