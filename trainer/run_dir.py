"""Where one training keeps what its stages hand to each other; a stage's results are files.

corpus/    train, valid, test, unlabelled as JSON Lines; labels.json; card.json
encoder/   the pre-trained encoder, a Hugging Face directory with tokenizer.json
tuning/    tuning.json: the study over hyper-parameters, where one was made
model/     the fine-tuned model, a Hugging Face directory with head.safetensors and head.json
judged/    report.json: every figure and check of the gate; the graph as served
variants/  the ONNX graph of each smaller version; pareto.json
version/   the files of the version as they are published

A stage works in a folder of its own beside these and is renamed into place when it has ended well,
with stage.json inside it that says what it was made from. So a kill at any instant leaves the
former results as they were, and the next start goes on in the stage's folder where it can.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from schemas.errors import Unavailable

FOLDERS = {
    "corpus": "corpus",
    "pretrain": "encoder",
    "tune": "tuning",
    "finetune": "model",
    "judge": "judged",
    "compress": "variants",
    "publish": "version",
}
RECORD = "stage.json"
LOCK = ".lock"
_REPLACED, _PARTIAL = ".replaced-", ".partial-"


class StageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage was made from, and the figures it gave."""

    made_from: str
    figures: dict[str, float] = {}


@dataclass(frozen=True)
class RunDir:
    """One training's folder; stages may come one by one, each from another process."""

    root: Path

    @property
    def corpus(self) -> Path:
        """The cleaned and divided examples."""
        return self.root / "corpus"

    @property
    def encoder(self) -> Path:
        """The pre-trained encoder."""
        return self.root / "encoder"

    @property
    def model(self) -> Path:
        """The fine-tuned model."""
        return self.root / "model"

    @property
    def judged(self) -> Path:
        """The gate's report."""
        return self.root / "judged"

    @property
    def variants(self) -> Path:
        """Compressed versions and their table."""
        return self.root / "variants"

    @property
    def version(self) -> Path:
        """The version's files."""
        return self.root / "version"

    def folder(self, stage: str) -> Path:
        """Where a stage's results are."""
        return self.root / FOLDERS[stage]

    def record(self, stage: str) -> StageRecord | None:
        """What the results of a stage were made from; None when there are none."""
        self._restore(stage)
        try:
            data = (self.folder(stage) / RECORD).read_bytes()
            return msgspec.json.decode(data, type=StageRecord)
        except (OSError, msgspec.MsgspecError):
            return None

    def begin(self, stage: str, made_from: str) -> Path:
        """The folder to work in: a former one for the same inputs, so that work goes on in it."""
        self._restore(stage)
        work = self.root / f"{_PARTIAL}{FOLDERS[stage]}-{made_from[:16]}"
        for other in self.root.glob(f"{_PARTIAL}{FOLDERS[stage]}-*"):
            if not other.name.startswith(work.name) and other.is_dir():
                shutil.rmtree(other, ignore_errors=True)
        work.mkdir(parents=True, exist_ok=True)
        return work

    def finish(self, stage: str, work: Path, record: StageRecord) -> None:
        """Puts a stage's finished folder in place of the former results."""
        (work / RECORD).write_bytes(msgspec.json.encode(record))
        target, replaced = self.folder(stage), self._replaced(stage)
        shutil.rmtree(replaced, ignore_errors=True)
        if target.exists():
            target.rename(replaced)
        work.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other trainings of the task away; the lock goes with the process that holds it.

        Raises:
            Unavailable: another process trains here.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / LOCK
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                there = path.stat()
            except OSError as error:
                raise Unavailable(f"another training works in {self.root}") from error
            if there.st_ino != os.fstat(file.fileno()).st_ino:
                raise Unavailable(f"{self.root} was deleted a moment ago: try again")
            yield

    def _replaced(self, stage: str) -> Path:
        return self.root / f"{_REPLACED}{FOLDERS[stage]}"

    def _restore(self, stage: str) -> None:
        """Takes the former results back where a kill came between the two renames."""
        target, replaced = self.folder(stage), self._replaced(stage)
        if replaced.exists() and not target.exists():
            replaced.rename(target)


def content_digest(path: Path) -> str:
    """SHA-256 over the names and bytes of a file or of all files of a folder, but its record."""
    found = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for each in files:
        if each.name == RECORD:
            continue
        found.update(str(each.relative_to(path)).encode() + b"\0")
        with each.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()
