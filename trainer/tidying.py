"""What trainings leave under home, bounded: the newest by the time of their last change are kept.

`runs/TASK` holds the stages of a text task, `tensorboard/VERSION` the figures of a version,
`checkpoints` how far recommenders' fits were that never ended, `wandb/wandb` what Weights & Biases
keeps of each. A run that a training works in is
kept whatever its age, and so is a link: somebody made it. Versions themselves are the artefact
store's.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

from adapters.home import home_of
from core.settings import Settings
from schemas.errors import Unavailable
from trainer.run_dir import LOCK, RunDir

LEAST = 3
GONE = ".gone-"

log = logging.getLogger(__name__)


def tidy(settings: Settings) -> None:
    """Deletes all but the newest `kept_runs` of each; what cannot be deleted now is the next time.

    Nothing is deleted when the setting is 0; at least three are kept otherwise.
    """
    if settings.kept_runs <= 0:
        return
    kept, home = max(settings.kept_runs, LEAST), home_of(settings)
    try:
        gone = [
            *(path for path in older(home / "runs", kept) if _run_deleted(path)),
            *(path for path in older(home / "tensorboard", kept) if _deleted(path)),
            *(path for path in older(home / "checkpoints", kept) if _deleted(path)),
            *(path for path in older(home / "wandb" / "wandb", kept) if _deleted(path)),
        ]
    except OSError as error:
        log.warning("what former trainings left is not deleted: %s", error)
        return
    if gone:
        log.info("deleted what %d former trainings left", len(gone))


def older(folder: Path, kept: int) -> list[Path]:
    """All but the `kept` entries of a folder that changed last, with what was left half deleted."""
    if not folder.is_dir():
        return []
    there = [path for path in folder.iterdir() if not path.is_symlink()]
    half = [path for path in there if path.name.startswith(GONE)]
    whole = [path for path in there if not path.name.startswith(".")]
    whole.sort(key=lambda path: max(_changes(path)), reverse=True)
    return [*half, *whole[kept:]]


def _changes(path: Path) -> Iterator[float]:
    """When a file, or a folder and what is in it directly, was changed; its lock says nothing."""
    yield path.stat().st_mtime
    if path.is_dir():
        yield from (each.stat().st_mtime for each in path.iterdir() if each.name != LOCK)


def _run_deleted(path: Path) -> bool:
    if not path.is_dir():
        return False  # no training left it
    try:
        with RunDir(path).locked():
            return _deleted(path)
    except Unavailable:
        return False  # a training works in it


def _deleted(path: Path) -> bool:
    if path.is_file():
        path.unlink()
        return True
    # Renamed first, so that nobody meets half of it.
    gone = path if path.name.startswith(GONE) else path.rename(path.with_name(GONE + path.name))
    shutil.rmtree(gone, ignore_errors=True)
    return True
