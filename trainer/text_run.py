"""The stages of a text task, one after another: each skipped when what it is made from is the same.

`trainer/work.py` runs them all for a retrain, `shoploop train` all or one of them for a person.
Torch is imported by the stages themselves, so that a refusal comes at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from core.settings import Settings
from schemas.errors import BadSettings
from trainer.inputs import NEEDS, stage_digest
from trainer.run_dir import RunDir, StageRecord, content_digest
from trainer.stages import Stages
from trainer.task import Task

STAGES = ("corpus", "pretrain", "finetune", "judge", "compress")
PUBLISH, TUNE, TUNING = "publish", "tune", "tuning.json"
KINDS: Mapping[str, tuple[str, ...]] = {
    "classify": (*STAGES, TUNE),
    "regress": (*STAGES, TUNE),
    "search": ("corpus", "pretrain", "finetune", "judge"),
}


def chain(kind: str) -> tuple[str, ...]:
    """The stages from data to what is published, as a kind of task has them.

    >>> chain("search")[-2:], chain("classify")[-2:]
    (('finetune', 'judge'), ('judge', 'compress'))
    """
    known = KINDS.get(kind, STAGES)
    return tuple(one for one in STAGES if one in known)


@dataclass(frozen=True)
class Champion:
    """The version in force, its model's folder made ready for the judge."""

    version: str
    folder: Path
    parameters: Mapping[str, float | int | str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class TextRun:
    """One text task's training in one folder; `say` is told what was skipped or made.

    `search` says why hyper-parameters are searched, empty: they are not; `studied` that they were.
    """

    task: Task
    run: RunDir
    settings: Settings
    champion: Champion | None = None
    search: str = ""
    studied: bool = False
    say: Callable[[str], None] = field(default=lambda _: None)

    def stages(self, wanted: Sequence[str], anew: Sequence[str], watch: Stages) -> None:
        """Runs the wanted stages in their order; those of `anew` even if nothing changed.

        Raises:
            BadSettings: the task has no such stages, or a stage lacks what another one makes.
        """
        for stage in (one for one in (*STAGES, TUNE) if one in wanted):
            if stage not in KINDS.get(self.task.kind, ()):
                raise BadSettings(
                    f"task {self.task.task} is of kind {self.task.kind}, which has no stage {stage}"
                )
            with watch.stage(stage):
                self._stage(stage, stage in anew)

    def tuned(self, watch: Stages) -> TextRun:
        """The run with the parameters that a study chose, where one is wanted and paid for."""
        if not self.search or self.task.tune.trials <= 0:
            return self
        from trainer.tune.parameters import with_parameters
        from trainer.tune.study import Tuned

        self.stages(("corpus", "pretrain", TUNE), (), watch)
        data = (self.run.folder(TUNE) / TUNING).read_bytes()
        found = msgspec.json.decode(data, type=Tuned)
        task = with_parameters(self.task, found.parameters)
        return replace(self, task=task, studied=True)

    def _stage(self, stage: str, anew: bool) -> None:
        made_from = self.digest(stage)
        record = self.run.record(stage)
        if record is not None and record.made_from == made_from and not anew:
            self.say(f"{stage}: nothing changed, kept {self.run.folder(stage)}")
            return
        work = self.run.begin(stage, made_from)
        figures = self._made(stage, work)
        self.run.finish(stage, work, StageRecord(made_from=made_from, figures=figures))
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self.say(f"{stage}: {self.run.folder(stage)}{f' ({told})' if told else ''}")

    def digest(self, stage: str) -> str:
        """What a stage would be made from now.

        Raises:
            BadSettings: a stage that it needs has not been run.
        """
        former = {need: self._former(stage, need) for need in NEEDS[stage]}
        told = {"tune": self.search, "judge": self.champion.version if self.champion else ""}
        return stage_digest(self.task, stage, former, told.get(stage, ""))

    def _former(self, stage: str, need: str) -> str:
        record = self.run.record(need)
        if record is None:
            raise BadSettings(
                f"stage {stage} of {self.task.task} needs stage {need}, which has not been run: "
                f"shoploop train {self.task.task} --stage {need}"
            )
        # Examples that came out the same ask for nothing new, however they were read.
        return content_digest(self.run.corpus) if need == "corpus" else record.made_from

    def _made(self, stage: str, work: Path) -> dict[str, float]:
        from trainer.text_stages import MAKERS

        return MAKERS[stage](self, work)
