"""A retrain of a text task: every stage, then the signed version; the same inputs, the same id."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.artefacts import ArtefactStore
from adapters.clickhouse import connected, dsn_of
from adapters.home import home_of
from adapters.tables_progress import wait_sunk
from core.model_version import sha256
from core.settings import Settings
from schemas.errors import RejectedModel
from schemas.models import Publish, Retrain
from trainer.run_dir import RunDir
from trainer.stages import Stages
from trainer.task import Task
from trainer.text_run import KINDS, PUBLISH, STAGES, TUNE, Champion, TextRun, chain
from trainer.text_version import Told, champion_folder, text_version
from trainer.tune.parameters import as_champion
from trainer.version import Made, command_id, store_signed

SINK_DEADLINE_S = 60.0
TEXT_STAGES = (*STAGES, PUBLISH)


@dataclass(frozen=True)
class Bench:
    """Where text tasks are trained: settings, where versions go, the key, and who listens."""

    settings: Settings
    store: ArtefactStore
    key: Ed25519PrivateKey

    def folder(self, task: str) -> RunDir:
        """The folder of a task's training."""
        return RunDir(home_of(self.settings) / "runs" / task)

    def champion(self, task: str, version: str | None) -> Champion | None:
        """The version in force, ready to be compared with; one that is not sound is left aside."""
        if version is None:
            return None
        folder = self.folder(task).root / "champion"
        shutil.rmtree(folder, ignore_errors=True)
        key = self.key.public_key()
        try:
            manifest = champion_folder(self.store, task, version, key, folder)
            return Champion(version, folder, manifest.parameters)
        except RejectedModel:
            return None

    def publish(self, run: TextRun, told: Told, stages: Stages) -> Made:
        """Makes, signs and stores the version of a run whose stages are done."""
        with stages.stage(PUBLISH):
            for stage in chain(run.task.kind):
                run.digest(stage)  # says which stage is missing
            made = text_version(run, told)
            store_signed(self.store, self.key, made)
        return made

    def train(self, task: Task, retrain: Retrain, stages: Stages) -> Made:
        """Answers a retrain; what an earlier start of it has finished is kept.

        Raises:
            FeedbackError: a stage could not do its work, the error says why.
        """
        folder = self.folder(task.task)
        with folder.locked():
            # What may be searched is not known of every kind; the training goes on without.
            search = retrain.search if TUNE in KINDS.get(task.kind, ()) else ""
            run = self.run(self._sunk(task, retrain), retrain.parent_version, search)
            run = run.tuned(stages)
            run.stages(chain(task.kind), (), stages)
            told = Told(retrain.retrain_id, retrain.event_time_ms, dict(retrain.offsets))
            return self.publish(run, told, stages)

    def run(self, task: Task, champion: str | None, search: str = "") -> TextRun:
        """A task's training in its folder, beside the champion and with what was tuned for it."""
        known = self.champion(task.task, champion)
        if known is not None:
            task = as_champion(task, known.parameters)
        return TextRun(task, self.folder(task.task), self.settings, known, search)

    def _sunk(self, task: Task, retrain: Retrain) -> Task:
        """The task with its query bounded, once the tables hold what the retrain counts on."""
        if task.data.source == "clickhouse" and retrain.offsets:
            settings = self.settings
            with connected(dsn_of(settings)) as client:
                wait_sunk(client, retrain.offsets, settings.topic_prefix, within_s=SINK_DEADLINE_S)
        return until(task, retrain.data_until_ms)


def until(task: Task, data_until_ms: int) -> Task:
    """The task with its query bounded by the end of the data, if it has one."""
    if task.data.source != "clickhouse":
        return task
    data = msgspec.structs.replace(task.data, until_ms=data_until_ms)
    return msgspec.structs.replace(task, data=data)


def offer_of(retrain: Retrain, made: Made) -> Publish:
    """The offer of a text task's version; nothing but its gate decides, so it is due at once."""
    return Publish(
        command_id=command_id(retrain),
        task=retrain.task,
        retrain_id=retrain.retrain_id,
        event_time_ms=retrain.event_time_ms,
        model_version=made.manifest.version,
        manifest_sha256=sha256(made.manifest_bytes),
        gate=made.gate,
        data_until_ms=made.manifest.data_until_ms,
        judged_against=made.manifest.parent,
    )
