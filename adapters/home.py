"""Where a process keeps its state on this machine, and where artefacts are when nobody says."""

from pathlib import Path

import platformdirs

from core.settings import Settings


def home_of(settings: Settings) -> Path:
    """SHOPLOOP_HOME, else the user's data folder for shoploop; not created here."""
    if settings.home:
        return Path(settings.home).expanduser().resolve()
    return Path(platformdirs.user_data_dir("shoploop", appauthor=False))


def tasks_of(settings: Settings) -> Path:
    """SHOPLOOP_TASKS, else `tasks` under home: where task files are."""
    if settings.tasks:
        return Path(settings.tasks).expanduser().resolve()
    return home_of(settings) / "tasks"


def artefacts_url(settings: Settings) -> str:
    """SHOPLOOP_ARTEFACTS, else `artefacts` under home as a file URL."""
    return settings.artefacts or (home_of(settings) / "artefacts").as_uri()
