"""A run's model for other stacks, as a Hugging Face directory; torch is imported when it is due."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import BadSettings
from trainer.text_run import TextRun

MADE_BY = ("corpus", "pretrain", "finetune")
OURS = "head.json"


def export_model(run: TextRun, folder: Path) -> None:
    """Writes the directory of the run's model; one that an export made before is written over.

    Raises:
        BadSettings: there is no model yet, none of this kind leaves so, or the folder is taken.
    """
    _refuse(run, folder)
    from trainer.finetune.model import TextModel
    from trainer.judge.hugging_face import export_hugging_face

    model = TextModel.load(run.run.model)
    folder.mkdir(parents=True, exist_ok=True)
    export_hugging_face(model, folder)


def _refuse(run: TextRun, folder: Path) -> None:
    name = run.task.task
    if run.task.kind == "search":
        raise BadSettings(f"{name} is a search task: its version's files are its ONNX graphs")
    for stage in MADE_BY:
        if run.run.record(stage) is None:
            raise BadSettings(
                f"{name} has no model yet: stage {stage} has not been run: "
                f"shoploop train {name} --stage {stage}"
            )
    if folder.exists() and not folder.is_dir():
        raise BadSettings(f"{folder} is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / OURS).exists():
        raise BadSettings(f"{folder} holds other files: name an empty or a new folder")
