"""What trainings leave under home is bounded; what one works in is never touched."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from msgspec.structs import replace
from record_samples import RETRAIN

from core.settings import Settings
from schemas.models import Publish, Retrain
from serving.state_store import state_of
from trainer.app import Trainer
from trainer.attempts import MOST, Attempts
from trainer.run_dir import RunDir
from trainer.tidying import GONE, tidy


def made(folder: Path, names: str, *, inside: str = "") -> None:
    """Entries in the order of their last change, oldest first."""
    for at_s, name in enumerate(names.split(), start=1_000):
        path = folder / name
        if inside:
            path.mkdir(parents=True)
            (path / inside).write_text("x")
            os.utime(path / inside, (at_s, at_s))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text("x")
        os.utime(path, (at_s, at_s))


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_runs_used_last_stay(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path), kept_runs=3)
    made(tmp_path / "runs", "a b c d e", inside="stage.json")
    made(tmp_path / "tensorboard", "v1 v2 v3 v4", inside="events")
    made(tmp_path / "checkpoints", "1.safetensors 2.safetensors 3.safetensors 4.safetensors")
    made(tmp_path / "wandb" / "wandb", "run-1 offline-run-2 run-3 run-4", inside="run.wandb")
    (tmp_path / "wandb" / "wandb" / "latest-run").symlink_to("run-4")
    os.utime(tmp_path / "runs" / "a" / "stage.json", (2_000, 2_000))  # trained again since
    tidy(settings)
    assert left(tmp_path / "runs") == ["a", "d", "e"]
    assert left(tmp_path / "tensorboard") == ["v2", "v3", "v4"]
    runs = ["latest-run", "offline-run-2", "run-3", "run-4"]
    assert left(tmp_path / "wandb" / "wandb") == runs
    assert left(tmp_path / "checkpoints") == ["2.safetensors", "3.safetensors", "4.safetensors"]


def test_a_run_that_a_training_works_in_stays_whatever_its_age(tmp_path: Path) -> None:
    made(tmp_path / "runs", "oldest b c d", inside=".lock")
    settings = Settings(home=str(tmp_path), kept_runs=1)
    with RunDir(tmp_path / "runs" / "oldest").locked():
        tidy(settings)
        assert left(tmp_path / "runs") == ["b", "c", "d", "oldest"]
    os.utime(tmp_path / "runs" / "oldest", (1, 1))
    tidy(settings)
    assert left(tmp_path / "runs") == ["b", "c", "d"]


def test_a_link_stays_and_neither_it_nor_a_stray_file_keeps_others(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    made(elsewhere, "kept", inside="stage.json")
    runs = tmp_path / "runs"
    made(runs, "note.txt")
    made(runs, "a b c d", inside="stage.json")
    os.utime(elsewhere / "kept", (1, 1))
    (runs / "linked").symlink_to(elsewhere / "kept")
    (runs / "dangling").symlink_to(elsewhere / "gone")
    tidy(Settings(home=str(tmp_path), kept_runs=3))
    assert left(runs) == ["b", "c", "d", "dangling", "linked", "note.txt"]
    assert left(elsewhere / "kept") == ["stage.json"]


def test_what_a_kill_left_half_deleted_goes_and_0_keeps_all(tmp_path: Path) -> None:
    made(tmp_path / "runs", f"{GONE}x a b c d", inside="stage.json")
    tidy(Settings(home=str(tmp_path), kept_runs=0))
    assert len(left(tmp_path / "runs")) == 5
    tidy(Settings(home=str(tmp_path), kept_runs=10))
    assert left(tmp_path / "runs") == ["a", "b", "c", "d"]


def ignored(*_: object, **__: object) -> None:
    """Sends nothing."""


class Offering:
    """In place of a training: answers each retrain with what it was given last."""

    last_seconds = 1.0

    def __init__(self, failed: str | None) -> None:
        self.failed = failed

    def answer(self, retrain: Retrain) -> Publish:
        return self.gave_up(retrain, self.failed)

    def gave_up(self, retrain: Retrain, failed: str | None) -> Publish:
        return Publish(
            command_id="c",
            task=retrain.task,
            retrain_id=retrain.retrain_id,
            event_time_ms=retrain.event_time_ms,
            failed=failed,
        )


def test_a_trainer_tells_failures_in_a_row_by_task_and_tidies_after_each(tmp_path: Path) -> None:
    made(tmp_path / "runs", "a b c d", inside="stage.json")
    trainer: Any = Trainer(Settings(home=str(tmp_path), kept_runs=3))
    outbox = SimpleNamespace(progress=ignored, retrain=ignored, publish=ignored)
    intent = replace(RETRAIN, task="intent", state="accepted")
    for failed in ("no memory", "no memory"):
        trainer._work = Offering(failed)
        trainer._answer(intent, outbox)
    assert 'failed_in_a_row{task="intent"} 2' in trainer.figures()
    assert 'failed_in_a_row{task="recommend"} 0' in trainer.figures()
    trainer = Trainer(Settings(home=str(tmp_path), kept_runs=3))  # as after a restart
    assert 'failed_in_a_row{task="intent"} 2' in trainer.figures()
    assert left(tmp_path / "runs") == ["b", "c", "d"]
    trainer._work = Offering(None)
    trainer._answer(intent, outbox)
    assert 'failed_in_a_row{task="intent"} 0' in trainer.figures()
    assert 'failures_total{task="intent"} 0' in trainer.figures()
    assert 'trainings_total{task="intent"} 1' in trainer.figures()
    assert "training_age_seconds 0" in trainer.figures()


def test_a_training_that_ends_its_process_each_time_is_given_up_in_the_end(tmp_path: Path) -> None:
    settings = Settings(home=str(tmp_path))
    for _ in range(MOST):  # as begun by one process after another, each of which was killed
        assert Attempts(tmp_path / "trainer" / "attempts.json").begin(RETRAIN.retrain_id)
    trainer: Any = Trainer(settings)
    trainer._work = Offering(None)
    assert trainer._trained(RETRAIN).failed == "crashed: it ended the trainer 3 times"
    assert trainer._trained(RETRAIN).failed is None  # it was answered: this one is another


def test_a_training_given_up_in_peace_is_no_crash_and_a_damaged_note_is_none(
    tmp_path: Path,
) -> None:
    attempts = Attempts(tmp_path / "attempts.json")
    for _ in range(2 * MOST):
        assert attempts.begin("r1")
        attempts.end("r1")
    attempts.said("intent", 2)
    assert Attempts(tmp_path / "attempts.json").in_a_row == {"intent": 2}
    (tmp_path / "attempts.json").write_text("{")
    assert Attempts(tmp_path / "attempts.json").in_a_row == {}


def test_the_file_in_which_earlier_releases_kept_shoppers_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "serving"
    folder.mkdir()
    for name in ("one.snapshot", "two.snapshot"):
        (folder / name).write_text("histories")
    state_of(tmp_path, "one").close()
    assert left(folder) == ["one", "two.snapshot"]
