"""An accepted retrain becomes one version, over real Kafka and ClickHouse, through kills."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from trainer_factory import Decider, running_trainer, start_trainer, until

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url, home_of
from adapters.onnx import load_version
from adapters.signing import load_verify_key
from core.features import feature_schema_hash
from core.model_version import sha256
from core.settings import Settings
from schemas import topics
from schemas.models import Publish


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


@pytest.fixture
def decider(settings: Settings) -> Decider:
    return Decider(settings)


def assert_loads(settings: Settings, publish: Publish) -> int:
    store = ArtefactStore(artefacts_url(settings))
    assert publish.model_version is not None
    loaded = load_version(
        store,
        "recommend",
        publish.model_version,
        load_verify_key(home_of(settings)),
        feature_schema_hash(),
    )
    manifest = store.get("recommend", loaded.version, "manifest.json")
    assert sha256(manifest) == publish.manifest_sha256
    assert loaded.manifest.retrain_id == publish.retrain_id
    return loaded.manifest.rows


def test_an_accepted_retrain_is_answered_by_a_version_that_loads(
    settings: Settings, decider: Decider, tmp_path: Path
) -> None:
    log = tmp_path / "trainer.log"
    offsets = decider.fill()
    offsets["events.valid/0"] -= 20  # what came later is not to be trained on
    retrain = decider.accept(offsets)
    with running_trainer(settings, log):
        until(lambda: "published" in decider.states("r1"), log)
    (publish,) = decider.published()
    assert publish.gate.passed, publish.gate.reason
    assert publish.event_time_ms == retrain.event_time_ms + settings.training_cost_ms
    assert {w.surface for w in publish.ranker} == {"home", "discover", "buy_again"}
    assert decider.states("r1") == ["accepted", "training", "published"]
    rows = assert_loads(settings, publish)
    assert rows == sum(n for place, n in offsets.items() if place.startswith("events.valid"))
    assert (home_of(settings) / "tensorboard" / str(publish.model_version)).is_dir()


def test_a_trainer_killed_in_training_takes_the_retrain_up_again_as_one_version(
    settings: Settings, decider: Decider, tmp_path: Path
) -> None:
    log = tmp_path / "trainer.log"
    decider.accept(decider.fill())
    process = start_trainer(settings, log)
    try:
        until(lambda: "training" in decider.states("r1"), log)
    finally:
        process.kill()
        process.wait(60)
    with running_trainer(settings, log):
        until(lambda: "published" in decider.states("r1"), log)
    published = decider.published()
    assert len({(p.command_id, p.model_version, p.manifest_sha256) for p in published}) == 1
    assert decider.states("r1").count("training") == 2
    assert ArtefactStore(artefacts_url(settings)).versions("recommend") == [
        published[0].model_version
    ]
    assert_loads(settings, published[0])


def test_a_training_that_fails_is_said_so_and_the_trainer_goes_on(
    settings: Settings, decider: Decider, tmp_path: Path
) -> None:
    log = tmp_path / "trainer.log"
    offsets = decider.fill()
    early = decider.accept(offsets, data_until_ms=1, retrain_id="early")
    decider.write(topics.RETRAIN, "recommend", b"not a record")
    decider.write(topics.RETRAIN, "recommend", msgspec.structs.replace(early, state="suppressed"))
    decider.accept(offsets)
    with running_trainer(settings, log):
        until(lambda: len(decider.published()) == 2, log)
    failed, published = decider.published()
    assert (failed.retrain_id, failed.model_version) == ("early", None)
    assert str(failed.failed).startswith("too_little_data")
    assert published.model_version is not None
