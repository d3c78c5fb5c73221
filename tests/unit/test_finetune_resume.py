from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from finetune_factory import small_corpus, small_encoder

from trainer.finetune.model import TextModel
from trainer.finetune.settings import FinetuneSettings
from trainer.finetune.stage import finetune
from trainer.task import Task

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("finetune_child.py")
LONG = FinetuneSettings(
    epochs=12, batch_rows=12, learning_rate=1e-3, tuning_rate=1e-2, check_every=0.34, rank=2
)
CASES = {
    "full": msgspec.structs.replace(LONG, adversarial="fgm", average="ema"),
    "adalora": msgspec.structs.replace(LONG, method="adalora", unlabelled="consistency"),
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_encoder(tmp_path_factory.mktemp("encoder"))


def child(arguments: list[str], how: FinetuneSettings) -> subprocess.Popen[bytes]:
    command = [*arguments, msgspec.json.encode(how).decode()]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.parametrize("case", CASES)
def test_a_killed_fine_tuning_goes_on_and_ends_in_the_same_bytes(
    case: str, encoder: Path, tmp_path: Path
) -> None:
    how = CASES[case]
    task = Task(task="t", kind="classify", finetune=how)
    finetune(task, small_corpus(), encoder, tmp_path / "whole")
    killed = child([sys.executable, str(CHILD), str(encoder), str(tmp_path / "cut")], how)
    checkpoint = tmp_path / "cut.7.checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists():
        assert killed.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert checkpoint.exists(), "the child ended before it could be killed"
    finetune(task, small_corpus(), encoder, tmp_path / "cut")
    for name in ("model.safetensors", "head.safetensors", "head.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not checkpoint.exists()


def test_two_workers_train_one_model(encoder: Path, tmp_path: Path) -> None:
    how = msgspec.structs.replace(LONG, epochs=2, batch_rows=6, check_every=1.0)
    started = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    both = child([*started, str(CHILD), str(encoder), str(tmp_path / "model")], how)
    _, said = both.communicate(timeout=200)
    assert both.returncode == 0, said.decode()[-2000:]
    assert len(TextModel.load(tmp_path / "model").logits(small_corpus().valid)) == 12
