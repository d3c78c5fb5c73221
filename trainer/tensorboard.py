"""One TensorBoard run per version under `<home>/tensorboard`: losses, figures, checks, seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from trainer.version import Made


def log_version(folder: Path, made: Made, seconds: Mapping[str, float]) -> None:
    """Writes the run of a version; a repeated training writes the same figures again."""
    writer = SummaryWriter(str(folder / made.manifest.version))
    try:
        for epoch, loss in enumerate(made.losses, start=1):
            writer.add_scalar("fit/loss", loss, epoch)
        for name, value in made.manifest.metrics.items():
            writer.add_scalar(f"holdout/{name}", value)
        for check in made.gate.checks:
            writer.add_scalar(f"gate/{check.name}", check.value)
        for name, spent_s in seconds.items():
            writer.add_scalar(f"seconds/{name}", spent_s)
        writer.add_text("gate", made.gate.reason or "passed")
    finally:
        writer.close()
