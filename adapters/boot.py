"""What this boot of the machine is called: what a file holds of clocks and locks ends with it."""

import time
from contextlib import suppress
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_DAY_S = 86_400.0


def boot_id() -> str:
    """Names this boot, where the system does; else "0"."""
    try:
        return _BOOT.read_text().strip()
    except OSError:
        return "0"


def files_of_former_boots(folder: Path, pattern: str, mine: Path) -> list[Path]:
    """Files like `mine` that nobody has written for a day."""
    found = []
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            if path != mine and path.stat().st_mtime < time.time() - _DAY_S:
                found.append(path)
    return found
