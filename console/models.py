"""`shoploop models`: what versions there are, what happened to them, and orders about them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url
from adapters.kafka import Follower
from console.audit import audited
from console.orders import add_place, give, order_of, settings_here
from console.status import live_models
from core.model_version import MANIFEST
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import BadSettings
from schemas.models import Manifest, ModelLog, ModelPointer

HELP = "Show the history of model versions, or order the decider to change what is live."
ORDERS = ("promote", "rollback", "pin", "unpin", "freeze", "unfreeze")
READ_WITHIN_S = 10.0
_NEEDS_VERSION = ("promote",)
_EVIDENCE_SHOWN = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `models`."""
    parser.add_argument(
        "action",
        choices=["history", "list", *ORDERS],
        help="history and list show; the others order (freeze: the rankers learn no more)",
    )
    parser.add_argument("version", nargs="?", help="the version to promote or to pin")
    parser.add_argument("--task", help="the task (default: SHOPLOOP_TASK)")
    parser.add_argument("--reason", default="", help="kept on record with an order")
    parser.add_argument("--all", action="store_true", help="history: also what replicas answered")
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show or order; raises BadSettings when an order lacks its version."""
    settings = settings_here(arguments)
    task = arguments.task or settings.task
    console = Console(highlight=False)
    if arguments.action == "history":
        entries = read_history(settings, task)
        console.print(history_table(entries, show_replicas=arguments.all))
        return 0
    if arguments.action == "list":
        console.print(versions_table(read_manifests(settings, task), _pointer(settings, task)))
        return 0
    if arguments.action in _NEEDS_VERSION and not arguments.version:
        raise BadSettings(f"`shoploop models {arguments.action}` needs a VERSION")
    version = arguments.version or ""
    with audited(settings, f"models.{arguments.action}", f"{task} {version}".rstrip()) as note:
        note.detail = arguments.reason
        give(settings, order_of(task, arguments.action, arguments.version, arguments.reason))
    console.print(f"ordered: {arguments.action} {arguments.version or ''}".rstrip())
    return 0


def read_history(settings: Settings, task: str) -> list[ModelLog]:
    """Every entry of a task on `model_log`, as written.

    Raises:
        Unavailable: the broker does not answer.
    """
    decode = Decoder(ModelLog)
    reader = Follower(settings, (topics.MODEL_LOG,))
    try:
        found = reader.catch_up(READ_WITHIN_S)
    finally:
        reader.close()
    entries = [decode(message.value()) for _, message in found if message.value() is not None]
    return [entry for entry in entries if entry.task == task]


def read_manifests(settings: Settings, task: str) -> list[Manifest]:
    """Manifests in the artefact store, oldest first; their signatures are serving's to check."""
    store = ArtefactStore(artefacts_url(settings))
    return [
        msgspec.json.decode(store.get(task, version, MANIFEST), type=Manifest)
        for version in store.versions(task)
    ]


def history_table(entries: Sequence[ModelLog], *, show_replicas: bool = False) -> Table:
    """The history as a table, oldest first."""
    table = Table(box=None, pad_edge=False)
    for name in ("when", "version", "what", "reason", "evidence"):
        table.add_column(name, overflow="fold")
    for entry in entries:
        if entry.kind == "swapped" and not show_replicas:
            continue
        table.add_row(
            when(entry.event_time_ms),
            entry.model_version or "-",
            f"[{_COLOURS.get(entry.kind, 'white')}]{entry.kind}[/]",
            escape(entry.reason),
            escape(evidence_text(entry)),
        )
    return table


def versions_table(manifests: Sequence[Manifest], pointer: ModelPointer | None) -> Table:
    """The stored versions as a table, oldest first."""
    table = Table(box=None, pad_edge=False)
    for name in ("version", "role", "trained on data to", "rows", "parent", "gate"):
        table.add_column(name, overflow="fold")
    for manifest in manifests:
        gate = "passed" if manifest.gate.passed else manifest.gate.reason
        table.add_row(
            manifest.version,
            role_of(manifest.version, pointer),
            when(manifest.data_until_ms),
            f"{manifest.rows:,}",
            manifest.parent or "-",
            escape(gate),
        )
    return table


def role_of(version: str, pointer: ModelPointer | None) -> str:
    """What the pointer says a version is now.

    >>> role_of("v1", ModelPointer(task="t", sequence=1, event_time_ms=0, champion="v1"))
    'champion'
    """
    if pointer is None:
        return "-"
    roles = ("champion", "challenger", "canary", "control", "previous")
    held = [role for role in roles if getattr(pointer, role) == version]
    if "champion" in held and pointer.pinned:
        held.append("pinned")
    return ", ".join(held) or "-"


def evidence_text(entry: ModelLog) -> str:
    """The figures an entry rests on, in one line."""
    parts = [f"{name} {value:g}" for name, value in list(entry.evidence.items())[:_EVIDENCE_SHOWN]]
    if entry.gate is not None:
        passed = sum(check.passed for check in entry.gate.checks)
        parts.append(f"{passed} of {len(entry.gate.checks)} checks passed")
    if entry.announce_to_swap_ms is not None:
        parts.append(f"{entry.process} after {entry.announce_to_swap_ms:.0f} ms")
    return ", ".join(parts)


def when(at_ms: int) -> str:
    """Event time in UTC, to the minute.

    >>> when(1_300_000_000_000)
    '2011-03-13 07:06'
    """
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M")


def _pointer(settings: Settings, task: str) -> ModelPointer | None:
    return next((each for each in live_models(settings) if each.task == task), None)


_COLOURS = {
    "promoted": "green",
    "rejected": "red",
    "rolled_back": "red",
    "refused": "red",
    "pinned": "yellow",
}
