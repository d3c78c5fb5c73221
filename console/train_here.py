"""The stages of a text task, run in the foreground for a person."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from adapters.artefacts import ArtefactStore
from adapters.clock import wall_ms
from adapters.home import artefacts_url, home_of
from adapters.signing import load_or_create, load_signing_key
from console.audit import audited
from console.orders import give
from console.status import live_models
from core.model_version import sha256
from core.settings import Settings
from local.state import read_state
from schemas.ids import derived_id
from schemas.models import Publish
from trainer.records import record
from trainer.stages import Stages
from trainer.task import Task
from trainer.task_files import find_task
from trainer.text_export import export_model
from trainer.text_run import PUBLISH, TextRun, chain
from trainer.text_version import Told
from trainer.text_work import TEXT_STAGES, Bench
from trainer.version import Made

BY_HAND = "by-hand"


def train_here(
    arguments: argparse.Namespace, settings: Settings, name: str, console: Console
) -> int:
    """Runs what was asked for and says where each result lies.

    Raises:
        BadSettings: the task file is wrong, or a stage lacks what another one makes.
    """
    task = find_task(settings, name, arguments.file)
    bench = _bench(settings)
    publish = arguments.publish or arguments.first == PUBLISH
    wanted = chosen(arguments.stage, task.kind, publish=publish)
    anew = _anew(task, arguments.first)
    stages = Stages(name, None, wanted)
    folder = bench.folder(name)

    def say(text: str) -> None:
        console.print(escape(text), soft_wrap=True)

    try:
        with folder.locked():
            if _exports_alone(arguments):
                return _exported(bench.run(task, None), arguments.export_hf, say)
            search = "asked for" if arguments.tune else ""
            run = replace(bench.run(task, _champion(settings, name), search), say=say)
            run = run.tuned(stages)
            run.stages(wanted, anew, stages)
            if arguments.export_hf:
                _exported(run, arguments.export_hf, say)
            if PUBLISH in wanted:
                made = bench.publish(run, Told(BY_HAND), stages)
                _published(settings, made, stages, console)
                if arguments.publish:
                    with audited(settings, "train.publish", f"{name} {made.manifest.version}"):
                        give(settings, offer_by_hand(task, made))
                    console.print("offered to the decider; see `shoploop models history`")
    finally:
        stages.close()
    return 0


def chosen(stage: str | None, kind: str, *, publish: bool) -> Sequence[str]:
    """The stages to run, in their order: the one asked for, or all that the kind has.

    >>> chosen("judge", "classify", publish=False), chosen(None, "search", publish=False)[-1]
    (('judge',), 'judge')
    """
    if stage is not None:
        return (stage, PUBLISH) if publish and stage != PUBLISH else (stage,)
    return (*chain(kind), PUBLISH) if publish else chain(kind)


def offer_by_hand(task: Task, made: Made) -> Publish:
    """The offer of a version that no retrain asked for."""
    manifest = made.manifest
    return Publish(
        command_id=derived_id("publish", BY_HAND, task.task, manifest.version),
        task=task.task,
        retrain_id=BY_HAND,
        event_time_ms=wall_ms(),
        model_version=manifest.version,
        manifest_sha256=sha256(made.manifest_bytes),
        gate=made.gate,
        data_until_ms=manifest.data_until_ms,
        judged_against=manifest.parent,
    )


def _exports_alone(arguments: argparse.Namespace) -> bool:
    """Whether the model is wanted as it is, nothing trained first."""
    trains = arguments.stage or arguments.first or arguments.publish or arguments.tune
    return bool(arguments.export_hf) and not trains


def _exported(run: TextRun, folder: Path, say: Callable[[str], None]) -> int:
    export_model(run, folder)
    say(f"export: {folder} (a Hugging Face directory, its ONNX graph and README.md)")
    return 0


def _anew(task: Task, first: str | None) -> Sequence[str]:
    """Stages to run even if nothing changed: a query's rows are not known before it is asked."""
    asked = TEXT_STAGES[TEXT_STAGES.index(first) :] if first else ()
    return (*asked, "corpus") if task.data.source == "clickhouse" else asked


def _bench(settings: Settings) -> Bench:
    named = settings.signing_key
    key = load_signing_key(Path(named)) if named else load_or_create(home_of(settings))
    return Bench(settings, ArtefactStore(artefacts_url(settings)), key)


def _champion(settings: Settings, task: str) -> str | None:
    """The champion of the loop that runs here, if one does."""
    if read_state(home_of(settings)) is None:
        return None
    found = [pointer.champion for pointer in live_models(settings) if pointer.task == task]
    return found[0] if found else None


def _published(settings: Settings, made: Made, stages: Stages, console: Console) -> None:
    record(settings, made, stages.seconds)
    manifest = made.manifest
    place = f"{artefacts_url(settings)}/{manifest.task}/{manifest.version}"
    console.print(f"publish: version {manifest.version}, gate {made.gate.reason or 'passed'}")
    console.print(f"publish: {escape(place)}", soft_wrap=True)
