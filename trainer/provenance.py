"""What code and which locked packages a version was made with."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

from core.model_version import sha256

_ROOT = Path(__file__).resolve().parent.parent


def code_revision() -> str:
    """The package version, and the git commit where this runs from a checkout."""
    try:
        release = metadata.version("shoploop")
    except metadata.PackageNotFoundError:
        release = "unreleased"
    commit = _commit()
    return f"{release}+{commit}" if commit else release


def lock_hash() -> str:
    """SHA-256 of requirements.lock, empty where the file does not travel with the code."""
    path = _ROOT / "requirements.lock"
    return sha256(path.read_bytes()) if path.is_file() else ""


def _commit() -> str:
    if not (_ROOT / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", str(_ROOT), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
