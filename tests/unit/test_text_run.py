"""A text task from its file to a signed version: skipped, resumed, refused and repeated."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url
from adapters.signing import load_or_create
from adapters.version_files import load_manifest
from console.main import main
from core.settings import Settings
from schemas.errors import BadSettings, Unavailable
from schemas.models import Retrain
from trainer.explain.report import Explained
from trainer.run_dir import RunDir, StageRecord
from trainer.stages import Stages
from trainer.task_files import find_task, task_names
from trainer.text_export import export_model
from trainer.text_run import STAGES
from trainer.text_work import TEXT_STAGES, Bench, offer_of
from trainer.version import Made
from trainer.work import Work

WORDS = {
    "refund": ["money", "back", "refund", "return", "charge"],
    "card": ["card", "lost", "pin", "stolen", "block"],
    "hello": ["hi", "hello", "morning", "hey", "greetings"],
}
FILE = """
task = "tiny"
kind = "classify"
[data]
files = ["rows.csv"]
columns = { text = "text", label = "label" }
[pretrain]
layers = 1
width = 32
vocabulary = 400
length = 32
[finetune]
epochs = 3
learning_rate = 5e-3
length = 32
[gate]
slowest_ms = 1000.0
[compress]
int8 = false
[tune]
trials = 2
folds = 1
"""


def write_task(folder: Path) -> None:
    """A task of three labels that a network of 32 numbers tells apart."""
    drawn = random.Random(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.toml").write_text(FILE)
    with (folder / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for number in range(240):
            label = drawn.choice(list(WORDS))
            said = [drawn.choice(["the", "my", "a", "today", "can", "you", "is"]) for _ in range(5)]
            said += [drawn.choice(WORDS[label]) for _ in range(3)]
            drawn.shuffle(said)
            rows.writerow([f"{' '.join(said)} n{number}", label])


def bench_in(home: Path) -> Bench:
    settings = Settings(home=str(home))
    write_task(home / "tasks")
    key = load_or_create(home)
    return Bench(settings, ArtefactStore(artefacts_url(settings)), key)


def retrain(**changes: object) -> Retrain:
    fields = {
        "retrain_id": "r1",
        "task": "tiny",
        "state": "accepted",
        "kind": "manual",
        "reason": "test",
        "event_time_ms": 1_300_000_000_000,
        "data_until_ms": 1_300_000_000_000,
        **changes,
    }
    return msgspec.convert(fields, Retrain)


def trained(bench: Bench, asked: Retrain) -> Made:
    task = find_task(bench.settings, "tiny")
    return bench.train(task, asked, Stages("test", show=False, names=TEXT_STAGES))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench_in(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def first(bench: Bench) -> Made:
    return trained(bench, retrain())


def test_a_retrain_of_a_text_task_gives_a_signed_version_that_answers_its_probe(
    bench: Bench, first: Made
) -> None:
    version = first.manifest.version
    manifest = load_manifest(bench.store, "tiny", version, bench.key.public_key())
    assert (manifest.kind, manifest.gate.passed) == ("classify", True)
    assert manifest.card
    assert [one.name for one in manifest.variants] == ["fp32"]
    graph = import_module("adapters.onnx_text").TextGraph(
        bench.store.get("tiny", version, str(manifest.parameters["graph"]))
    )
    said = graph.rows(manifest.probe.histories)
    assert np.abs(said - np.asarray(manifest.probe.outputs)).max() < 1e-3
    assert offer_of(retrain(), first).judged_against is None


def test_a_version_tells_which_tokens_speak_for_each_label(first: Made) -> None:
    tokens = msgspec.json.decode(first.files["explain.json"], type=Explained).tokens
    assert set(tokens) == set(WORDS)
    assert all(shares[0].token in WORDS[label] for label, shares in tokens.items())


def test_the_same_inputs_and_seed_give_the_same_version_anywhere(
    first: Made, tmp_path: Path
) -> None:
    again = trained(bench_in(tmp_path / "elsewhere"), retrain())
    assert again.manifest.files == first.manifest.files
    assert again.manifest.version == first.manifest.version


def test_stages_whose_inputs_are_the_same_are_kept_and_a_changed_section_asks_anew(
    bench: Bench, first: Made
) -> None:
    said: list[str] = []
    task = find_task(bench.settings, "tiny")
    run = replace(bench.run(task, None), say=said.append)
    run.stages(STAGES, (), Stages("test", show=False))
    assert [line.split(":")[0] for line in said if "nothing changed" in line] == list(STAGES)
    gate = msgspec.structs.replace(task.gate, margin=0.5)
    other = replace(run, task=msgspec.structs.replace(task, gate=gate))
    assert [stage for stage in STAGES if other.digest(stage) != run.digest(stage)] == [
        "judge",
        "compress",
    ]


def test_a_later_version_is_judged_against_the_champion_and_searches_when_told(
    bench: Bench, first: Made
) -> None:
    asked = retrain(retrain_id="r2", parent_version=first.manifest.version, search="concept drift")
    later = trained(bench, asked)
    assert later.manifest.parent == first.manifest.version
    assert any("champion" in check.name for check in later.gate.checks)
    assert later.manifest.parameters["tuned"] is True
    study = msgspec.json.decode(later.files["tuning.json"])
    assert study["trials"][0]["parameters"]["learning_rate"] == 5e-3
    assert offer_of(asked, later).judged_against == first.manifest.version


def test_the_model_leaves_as_a_hugging_face_directory_that_the_command_writes(
    bench: Bench, first: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", "tiny", "--home", str(bench.settings.home), "--export-hf"]
    assert main([*asked, str(tmp_path / "out")]) == 0
    assert "export:" in capsys.readouterr().out
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "head.json"} < written
    assert {"head.safetensors", "text.onnx", "README.md"} < written
    assert main([*asked, str(tmp_path / "out")]) == 0  # its own is written over
    (tmp_path / "notes").write_text("mine")
    assert main([*asked, str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err


def test_without_a_model_the_export_says_which_stage_is_missing(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    run = bench.run(find_task(bench.settings, "tiny"), None)
    with pytest.raises(BadSettings, match="no model yet: stage corpus has not been run"):
        export_model(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_stage_out_of_order_says_which_one_is_missing(tmp_path: Path) -> None:
    bench = bench_in(tmp_path)
    run = bench.run(find_task(bench.settings, "tiny"), None)
    with pytest.raises(BadSettings, match="needs stage corpus, which has not been run"):
        run.stages(("finetune",), (), Stages("test", show=False))


def test_an_unknown_task_fails_with_the_reason_and_the_folder(bench: Bench) -> None:
    work = Work(bench.settings, bench.store, bench.key, show_bar=False)
    failed = work.answer(retrain(task="nothing"))
    assert failed.model_version is None
    assert "no task file" in str(failed.failed)
    assert task_names(bench.settings) == ["tiny"]


def test_a_kill_between_two_renames_leaves_the_former_results(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    work = run.begin("judge", "a" * 64)
    (work / "report.json").write_text("{}")
    run.finish("judge", work, StageRecord(made_from="a" * 64))
    (tmp_path / "judged").rename(tmp_path / ".replaced-judged")  # where the kill came
    record = run.record("judge")
    assert record is not None
    assert record.made_from == "a" * 64
    half = run.begin("judge", "b" * 64)
    (half / "part").write_text("x")
    assert (run.begin("judge", "b" * 64) / "part").exists()  # goes on where it was
    assert not (run.begin("judge", "c" * 64) / "part").exists()


def test_two_trainings_of_a_task_do_not_meet(tmp_path: Path) -> None:
    with (
        RunDir(tmp_path).locked(),
        pytest.raises(Unavailable, match="another training"),
        RunDir(tmp_path).locked(),
    ):
        pass


def test_wandb_offline_writes_a_run(first: Made, tmp_path: Path) -> None:
    code = (
        "import sys, msgspec; from pathlib import Path; from schemas.models import Manifest, Gate;"
        "from trainer.records import log_wandb; from trainer.version import Made;"
        "m = msgspec.json.decode(sys.stdin.buffer.read(), type=Manifest);"
        "log_wandb('shop', Path(sys.argv[1]), Made(m, {}, m.gate, {}, (2.0, 1.0)), {'fit': 1.0})"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        input=first.manifest_bytes,
        capture_output=True,
        env={"WANDB_MODE": "offline", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))
