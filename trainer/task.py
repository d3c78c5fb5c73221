"""A task's configuration: one TOML file says everything about it, so a new task needs no code."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from schemas.errors import BadSettings
from schemas.events import Id
from trainer.compress.settings import CompressSettings
from trainer.corpus.settings import DataSettings
from trainer.finetune.settings import FinetuneSettings
from trainer.judge.settings import GateSettings
from trainer.pretrain.settings import PretrainSettings
from trainer.search.settings import SearchSettings
from trainer.tune.settings import TuneSettings

Kind = Literal["recommend", "search", "classify", "regress"]


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a task file says, section by section; `folder` is where relative paths begin."""

    task: Id
    kind: Kind
    language: str = "en"
    seed: int = 7
    data: DataSettings = DataSettings()
    pretrain: PretrainSettings = PretrainSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    gate: GateSettings = GateSettings()
    compress: CompressSettings = CompressSettings()
    search: SearchSettings = SearchSettings()
    tune: TuneSettings = TuneSettings()
    folder: str = "."

    def path(self, name: str) -> Path:
        """A path that the file names, made absolute."""
        return Path(self.folder, Path(name).expanduser()).absolute()


def read_task(path: Path) -> Task:
    """The task that a file describes.

    Raises:
        BadSettings: the file is missing or says something that is not understood; names the place.
    """
    try:
        task = msgspec.toml.decode(path.read_bytes(), type=Task)
    except OSError as error:
        raise BadSettings(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path}: {error}") from error
    return msgspec.structs.replace(task, folder=str(path.absolute().parent))
