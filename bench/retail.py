"""Loads the packed Online Retail data for measurements, straight from the archive."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from core.retail_rules import Invoice, Line, invoices, parse

ARCHIVE = Path(__file__).resolve().parent.parent / "data" / "online_retail.tar.xz"


def read_lines(archive: Path = ARCHIVE) -> Iterator[Line]:
    """Every invoice line of the archive, day by day in time order."""
    with tarfile.open(archive, "r:xz") as packed:
        for member in packed:
            opened = packed.extractfile(member) if member.name.endswith(".csv") else None
            if opened is not None:
                text = io.TextIOWrapper(opened, encoding="utf-8", newline="")
                yield from map(parse, csv.DictReader(text))


def load(archive: Path = ARCHIVE) -> list[Invoice]:
    """Purchases and refunds of products in time order."""
    return invoices(read_lines(archive))
