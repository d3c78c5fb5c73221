"""`shoploop models`: what versions there are, what happened to them, and orders about them."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from adapters.artefacts import ArtefactStore
from adapters.home import artefacts_url
from adapters.kafka import Follower
from console.audit import audited
from console.orders import add_place, give, order_of, settings_here
from console.status import live_models
from console.tables import as_text
from core.model_version import MANIFEST
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import BadSettings
from schemas.models import Manifest, ModelLog, ModelPointer, Order

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
    parser.add_argument(
        "--wait",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds to wait for what the decider makes of an order (default: 10; 0: do not)",
    )
    add_place(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show or order; raises BadSettings when an order lacks its version."""
    settings = settings_here(arguments)
    task = arguments.task or settings.task
    if arguments.action == "history":
        entries = read_history(settings, task)
        print(history_text(entries, show_replicas=arguments.all), end="")
        return 0
    if arguments.action == "list":
        found = read_manifests(settings, task)
        if not found:
            print(
                f"no version of {task} is stored in {artefacts_url(settings)} (--home says where)"
            )
        else:
            print(versions_text(found, _pointer(settings, task)), end="")
        return 0
    if arguments.action in _NEEDS_VERSION and not arguments.version:
        raise BadSettings(f"`shoploop models {arguments.action}` needs a VERSION")
    return _order(
        settings,
        order_of(task, arguments.action, arguments.version, arguments.reason),
        arguments.wait,
    )


def _order(settings: Settings, order: Order, wait_s: float) -> int:
    """Gives the order and tells what the decider did; 1 when it did not do it, or says nothing."""
    version = order.model_version or ""
    reader = Follower(settings, (topics.MODEL_LOG,)) if wait_s > 0 else None
    try:
        if reader is not None:
            reader.catch_up(READ_WITHIN_S)
        with audited(
            settings, f"models.{order.action}", f"{order.task} {version}".rstrip()
        ) as note:
            note.detail = order.reason
            give(settings, order)
        print(f"ordered: {order.action} {version}".rstrip())
        if reader is None:
            return 0
        said = said_to(order, reader, wait_s)
    finally:
        if reader is not None:
            reader.close()
    print(history_text(said), end="")
    if not said:
        print(
            f"nothing was decided within {wait_s:g} s: does streams run (`shoploop status`)? "
            "`shoploop models history` will tell",
            file=sys.stderr,
        )
    return 0 if said and all(entry.kind != "rejected" for entry in said) else 1


def said_to(order: Order, reader: Follower, wait_s: float) -> list[ModelLog]:
    """What comes on `model_log` about the order, until half a second brings no more."""
    decode, found = Decoder(ModelLog), list[ModelLog]()
    deadline_s = time.monotonic() + wait_s
    while time.monotonic() < deadline_s:
        values = [message.value() for _, message in reader.poll(0.5)]
        new = [decode(value) for value in values if value is not None]
        about = [
            entry
            for entry in new
            if entry.task == order.task and entry.reason.startswith(f"ordered by {order.by}")
        ]
        if found and not about:
            break
        found += about
    return found


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


def history_text(entries: Sequence[ModelLog], *, show_replicas: bool = False) -> str:
    """The history, oldest first, a line each."""
    rows = [
        (
            when(entry.event_time_ms),
            entry.model_version or "-",
            entry.kind,
            "; ".join(filter(None, (entry.reason, evidence_text(entry)))),
        )
        for entry in entries
        if entry.kind != "swapped" or show_replicas
    ]
    return as_text(("when", "version", "what", "why"), rows, None) if rows else ""


def versions_text(manifests: Sequence[Manifest], pointer: ModelPointer | None) -> str:
    """The stored versions, oldest first, a line each."""
    rows = [
        (
            manifest.version,
            role_of(manifest.version, pointer),
            when(manifest.data_until_ms),
            manifest.rows,
            manifest.parent or "-",
            "passed" if manifest.gate.passed else manifest.gate.reason,
        )
        for manifest in manifests
    ]
    return as_text(("version", "role", "data until", "rows", "parent", "gate"), rows, None)


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
