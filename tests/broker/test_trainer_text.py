"""A retrain of a text task over real Kafka, through a SIGKILL in the middle of a stage."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from trainer_factory import Decider, running_trainer, start_trainer, until

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url
from core.settings import Settings


def _write_task(folder: Path) -> None:
    path = Path(__file__).parents[1] / "unit" / "test_text_run.py"
    spec = importlib.util.spec_from_file_location("text_run_tests", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write_task(folder)


@pytest.fixture
def settings(
    kafka_address: str, unique_database: str, unique_prefix: str, tmp_path: Path
) -> Settings:
    return Settings(
        kafka=kafka_address,
        clickhouse=unique_database,
        topic_prefix=unique_prefix,
        home=str(tmp_path / "home"),
    )


def test_a_trainer_killed_between_stages_goes_on_and_publishes_one_version(
    settings: Settings, tmp_path: Path
) -> None:
    log = tmp_path / "trainer.log"
    decider = Decider(settings)
    _write_task(Path(settings.home) / "tasks")
    at = {"event_time_ms": 1_300_000_000_000, "data_until_ms": 1_300_000_000_000}
    decider.accept({}, task="nothing", retrain_id="unknown", kind="manual", **at)
    decider.accept({}, task="tiny", kind="manual", **at)
    run = Path(settings.home) / "runs" / "tiny"
    process = start_trainer(settings, log)
    try:
        until(lambda: list(run.glob(".partial-*")) and (run / "corpus").exists(), log)
    finally:
        process.kill()
        process.wait(60)
    corpus_made = (run / "corpus" / "stage.json").stat().st_mtime_ns
    with running_trainer(settings, log):
        until(lambda: "published" in decider.states("r1"), log)
    assert (run / "corpus" / "stage.json").stat().st_mtime_ns == corpus_made
    failed, published = (
        [p for p in decider.published() if p.retrain_id == asked] for asked in ("unknown", "r1")
    )
    assert "no task file" in str(failed[0].failed)
    assert len({(p.command_id, p.model_version) for p in published}) == 1
    versions = ArtefactStore(artefacts_url(settings)).versions("tiny")
    assert versions == [published[0].model_version]
