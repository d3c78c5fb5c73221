"""Where a training is recorded: TensorBoard always, Weights & Biases when a project is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adapters.home import home_of
from core.settings import Settings
from schemas.errors import BadSettings
from trainer.tensorboard import log_version
from trainer.version import Made


def record(settings: Settings, made: Made, seconds: Mapping[str, float]) -> None:
    """Records a version: losses, figures, checks, seconds of each stage.

    Raises:
        BadSettings: SHOPLOOP_WANDB is set and wandb is not installed.
    """
    log_version(home_of(settings) / "tensorboard", made, seconds)
    if settings.wandb:
        log_wandb(settings.wandb, home_of(settings) / "wandb", made, seconds)


def log_wandb(project: str, folder: Path, made: Made, seconds: Mapping[str, float]) -> None:
    """Writes one run, its id that of the version, so that a repeat writes the same run again.

    WANDB_MODE=offline keeps it in the folder; wandb's own variables say where it goes else.
    """
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise BadSettings(
            "SHOPLOOP_WANDB needs wandb, which is not installed: install shoploop[wandb]"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    manifest = made.manifest
    run = wandb.init(
        project=project,
        id=manifest.version,
        name=f"{manifest.task} {manifest.version}",
        dir=str(folder),
        resume="allow",
        config={**manifest.parameters, "task": manifest.task, "kind": manifest.kind},
        settings=wandb.Settings(silent=True, console="off"),
    )
    try:
        for epoch, loss in enumerate(made.losses, start=1):
            run.log({"fit/loss": loss, "epoch": epoch})
        run.summary.update(_figures(made, seconds))
    finally:
        run.finish()


def _figures(made: Made, seconds: Mapping[str, float]) -> dict[str, float | str]:
    return {
        **{f"holdout/{name}": value for name, value in made.manifest.metrics.items()},
        **{f"gate/{check.name}": check.value for check in made.gate.checks},
        **{f"seconds/{name}": spent_s for name, spent_s in seconds.items()},
        "gate": made.gate.reason or "passed",
    }
