"""Where the benchmark's data sets are, and the example tasks made to read them from there."""

from __future__ import annotations

from pathlib import Path

import msgspec

from schemas.errors import BadSettings
from trainer.corpus.archive import unpacked as unpacked_archive
from trainer.task import Task, read_task

ROOT = Path(__file__).resolve().parent.parent
TASKS = ROOT / "examples" / "tasks"


def find_data(pack: str = "banking77") -> Path:
    """The folder with a pack: `data` of the checkout, or `shared/data` beside it.

    Raises:
        BadSettings: the pack is in neither; names both.
    """
    places = (ROOT / "data", ROOT / "shared" / "data", ROOT.parent / "shared" / "data")
    for place in places:
        if (place / f"{pack}.tar.xz").is_file():
            return place
    raise BadSettings(f"{pack}.tar.xz is in none of {', '.join(map(str, places))}")


def unpacked(data: Path, pack: str) -> Path:
    """The folder of a pack's files, unpacked once by content into the user's cache folder.

    Raises:
        BadSettings: there is no such pack in `data`, nor where `find_data` looks.
    """
    name = f"{pack}.tar.xz"
    return unpacked_archive((data if (data / name).is_file() else find_data(pack)) / name)


def example_task(data: Path, name: str) -> Task:
    """An example task that reads its pack from `data`; its other paths stay as they are."""
    task = read_task(TASKS / f"{name}.toml")
    if not task.data.archive:
        return task
    pack = Path(task.data.archive).name
    place = data if (data / pack).is_file() else find_data(pack.partition(".")[0])
    archive = str((place / pack).resolve())
    return msgspec.structs.replace(task, data=msgspec.structs.replace(task.data, archive=archive))
