"""Pre-training makes an encoder from text alone, the same one every time, killed or not."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from schemas.errors import BadSettings
from trainer.corpus.examples import Corpus, Example, write_corpus
from trainer.pretrain.blocks import TokenLine, token_line
from trainer.pretrain.damage import Damage, damaged
from trainer.pretrain.encoder import encode_batch, load_encoder
from trainer.pretrain.settings import PretrainSettings
from trainer.pretrain.stage import pretrain
from trainer.pretrain.wordpieces import SPECIAL, train_tokenizer
from trainer.task import Task

SMALL = PretrainSettings(
    layers=1, width=16, heads=2, vocabulary=90, length=16, batch_tokens=64, epochs=3.0
)
TEXTS = [
    f"the {colour} {thing} is {word}. i {verb} it!"
    for colour in ("red", "blue", "green")
    for thing in ("lamp", "chair", "table")
    for word, verb in (("good", "love"), ("bad", "hate"), ("broken", "return"))
]
CHILD = """
import os, signal, sys, threading, time
import msgspec
from pathlib import Path
import torch
from trainer.corpus.examples import read_corpus
from trainer.pretrain.stage import pretrain
from trainer.task import Task
torch.set_num_threads(1)
def kill_after_a_checkpoint():
    state = Path(sys.argv[3]) / "checkpoint" / "state.safetensors"
    while not state.exists():
        time.sleep(0.0005)
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[4:] == ["killed"]:
    threading.Thread(target=kill_after_a_checkpoint, daemon=True).start()
task = msgspec.json.decode(sys.argv[1], type=Task)
print(pretrain(task, read_corpus(Path(sys.argv[2])), Path(sys.argv[3])))
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As the children have: sums differ in the last bit from one number of threads to another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _corpus() -> Corpus:
    train = [Example(example_id=str(i), text=text) for i, text in enumerate(TEXTS)]
    return Corpus(train=train, valid=[], test=[])


def _task(settings: PretrainSettings) -> Task:
    return Task(task="reviews", kind="classify", pretrain=settings)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def _child(
    task: Task,
    corpus: Path,
    folder: Path,
    launcher: tuple[str, ...] = (),
    more: tuple[str, ...] = (),
) -> subprocess.Popen[bytes]:
    script = corpus.parent / "child.py"
    script.write_text(CHILD)
    started = [sys.executable, *launcher, str(script)]
    command = [*started, msgspec.json.encode(task).decode(), str(corpus), str(folder), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


@pytest.mark.parametrize("objective", ["mlm", "causal", "denoising"])
def test_every_objective_learns_and_its_encoder_loads(objective: str, tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SMALL, objective=objective, epochs=20.0, learning_rate=5e-3)
    figures = pretrain(_task(settings), _corpus(), tmp_path / "encoder")
    assert figures["last_loss"] < 0.8 * figures["first_loss"]
    encoder = load_encoder(tmp_path / "encoder")
    ids, mask = encode_batch(encoder, ["the red lamp", "good"])
    hidden = encoder.network(input_ids=ids, attention_mask=mask).last_hidden_state
    assert hidden.shape == (2, ids.shape[1], 16)
    assert encoder.pooling == ("last" if objective == "causal" else "mean")


def test_the_same_seed_gives_the_same_bytes_and_a_start_goes_on(tmp_path: Path) -> None:
    pretrain(_task(SMALL), _corpus(), tmp_path / "one")
    pretrain(_task(SMALL), _corpus(), tmp_path / "two")
    assert _digests(tmp_path / "one") == _digests(tmp_path / "two")
    onward = msgspec.structs.replace(SMALL, start=str(tmp_path / "one"))
    pretrain(_task(onward), _corpus(), tmp_path / "three")
    one, three = _digests(tmp_path / "one"), _digests(tmp_path / "three")
    assert one["tokenizer.json"] == three["tokenizer.json"]
    assert one["model.safetensors"] != three["model.safetensors"]
    wrong = msgspec.structs.replace(onward, objective="causal")
    with pytest.raises(BadSettings, match="bert"):
        pretrain(_task(wrong), _corpus(), tmp_path / "four")


def test_a_killed_training_ends_with_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    settings = msgspec.structs.replace(SMALL, epochs=60.0, checkpoint_steps=10, dropout=0.1)
    task = _task(settings)
    pretrain(task, _corpus(), tmp_path / "whole" / "encoder")
    write_corpus(_corpus(), tmp_path / "corpus")
    folder = tmp_path / "killed" / "encoder"
    child = _child(task, tmp_path / "corpus", folder, more=("killed",))
    child.communicate(timeout=200)
    assert child.returncode == -signal.SIGKILL
    assert not (folder / "model.safetensors").exists()
    again = pretrain(task, _corpus(), folder)
    assert again["tokens"] < 16 * 4 * again["steps"]
    assert _digests(folder) == _digests(tmp_path / "whole" / "encoder")


def test_two_processes_train_one_encoder(tmp_path: Path) -> None:
    write_corpus(_corpus(), tmp_path / "corpus")
    folder = tmp_path / "encoder"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    child = _child(_task(SMALL), tmp_path / "corpus", folder, launcher)
    printed = child.communicate(timeout=120)[0].decode()
    assert child.returncode == 0
    assert printed.count("last_loss") == 2
    losses = {line.partition("'steps'")[0] for line in printed.splitlines() if "last_loss" in line}
    assert len(losses) == 1
    assert load_encoder(folder).width == 16


def test_a_tokenizer_is_the_same_each_time_and_takes_chinese_by_characters() -> None:
    texts = [*TEXTS, "质量很好 很好", "lamps and tables"]
    found = {train_tokenizer(texts, 90).to_str() for _ in range(3)}
    assert len(found) == 1
    tokenizer = train_tokenizer(texts, 90)
    assert tokenizer.get_vocab_size() <= 90
    assert [tokenizer.token_to_id(one) for one in SPECIAL] == [0, 1, 2, 3, 4]
    assert tokenizer.encode("很好 Lamp").tokens == ["[CLS]", "很", "好", "lamp", "[SEP]"]
    assert tokenizer.encode("gooded").tokens[1:-1] == ["good", "##e", "##d"]


def test_blocks_hold_every_text_once_and_no_padding() -> None:
    line = token_line(train_tokenizer(TEXTS, 90), TEXTS, 16)
    blocks = line.blocks(8, seed=1, epoch=0)
    assert blocks.shape == (len(line.tokens) // 8, 8)
    assert (blocks > 0).all()
    assert not np.array_equal(blocks, line.blocks(8, seed=1, epoch=1))
    exact = TokenLine(np.arange(12, dtype=np.int32), np.array([0, 3, 5, 12]))
    assert sorted(exact.blocks(4, 0, 0).ravel().tolist()) == list(range(12))


def test_damage_takes_spans_away_and_keeps_blocks_of_one_length() -> None:
    blocks = np.arange(10, 50, dtype=np.int32).reshape(2, 20)
    found = damaged(blocks, Damage(mask=4, ends=(14, 33)), np.random.default_rng(0))
    assert found.shape == (2, 20 - 6 + 2)
    assert (found == 4).sum(axis=1).tolist() == [2, 2]
    for before, after in zip(blocks, found, strict=True):
        assert set(after.tolist()) - {4} <= set(before.tolist())
