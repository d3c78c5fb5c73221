"""The pepper file: read once at start, refused when other accounts may read it."""

from pathlib import Path

from adapters.private_file import read_private
from core.pseudonyms import Pepper, parse_pepper
from core.settings import Settings
from schemas.errors import BadSettings


def load_pepper(settings: Settings) -> Pepper | None:
    """The pepper that `SHOPLOOP_PEPPER_FILE` names; None when it names no file.

    Raises:
        BadSettings: the file cannot be read, others than its owner may read it, or a line is bad.
    """
    if not settings.pepper_file:
        return None
    path = Path(settings.pepper_file)
    try:
        text = read_private(path, "SHOPLOOP_PEPPER_FILE").decode()
    except UnicodeDecodeError as error:
        raise BadSettings(f"SHOPLOOP_PEPPER_FILE={path}: cannot be read") from error
    return parse_pepper(text)
