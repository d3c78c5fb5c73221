"""`shoploop keys`: makes, shows, renews and ends API keys, each time on record."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from adapters.clock import wall_ms
from adapters.keys_file import changing, keys_path, read_keys, write_keys
from console.audit import audited
from console.orders import add_place, settings_here
from console.tables import as_text
from core import access
from core.access import ApiKey, KeyRing
from core.settings import DAY_MS, HOUR_MS, Settings
from schemas.errors import BadSettings

HELP = "Make, show, renew or end the keys by which callers may use the HTTP interface."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `keys`."""
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="create|list|rotate|revoke"
    )
    create = actions.add_parser("create", help="a new key; its text is printed this once")
    create.add_argument("name", help="whose key it is")
    known = ", ".join(access.SCOPES)
    create.add_argument("--scopes", required=True, help=f"by commas: {known}, or '*' for all")
    create.add_argument("--rate", type=float, default=0.0, help="requests a second (0: no limit)")
    create.add_argument("--burst", type=int, default=0, help="how many at once (0: a second's)")
    create.add_argument("--surfaces", default="", help="only these, by commas")
    create.add_argument("--tasks", default="", help="only these, by commas")
    create.add_argument("--days", type=float, help="how long it is valid (default: for ever)")
    listing = actions.add_parser("list", help="the keys there are; no secret is stored")
    listing.add_argument("--json", action="store_true", help="as JSON")
    rotate = actions.add_parser("rotate", help="a second secret; the former one ends later")
    rotate.add_argument("key", help="its name or id")
    rotate.add_argument(
        "--overlap-hours", type=float, default=24.0, help="how long the former one stays valid"
    )
    revoke = actions.add_parser("revoke", help="end a key within a second")
    revoke.add_argument("key", help="its name or id")
    for each in (create, listing, rotate, revoke):
        add_place(each)


def run(arguments: argparse.Namespace) -> int:
    """Do it; raises BadSettings when there is no such key, or one already."""
    settings = settings_here(arguments)
    actions = {"create": _create, "list": _list, "rotate": _rotate, "revoke": _revoke}
    actions[arguments.action](settings, arguments)
    return 0


def _create(settings: Settings, arguments: argparse.Namespace) -> None:
    path, now_ms = keys_path(settings), wall_ms()
    days = arguments.days
    with audited(settings, "keys.create", arguments.name, arguments.scopes) as note:
        with changing(path) as ring:
            if any(each.name == arguments.name for each in ring.keys):
                raise BadSettings(f"there is a key {arguments.name!r}: rotate or revoke it")
            text, key = access.issued(
                arguments.name,
                _parts(arguments.scopes),
                secrets.token_bytes(access.ID_BYTES),
                secrets.token_bytes(access.SECRET_BYTES),
                secrets.token_bytes(access.SALT_BYTES),
                now_ms=now_ms,
            )
            key = msgspec.structs.replace(
                key,
                rate=arguments.rate,
                burst=arguments.burst,
                surfaces=_parts(arguments.surfaces),
                tasks=_parts(arguments.tasks),
                until_ms=None if days is None else now_ms + round(days * DAY_MS),
            )
            note.target = f"{key.name} ({key.key_id})"
            _write(path, KeyRing(keys=(*ring.keys, key)))
        _show(text, f"key {key.name} ({key.key_id}); this text is stored nowhere")
        if not ring.keys:
            print("from now on every call but /healthz needs a key, /metrics too", file=sys.stderr)


def _rotate(settings: Settings, arguments: argparse.Namespace) -> None:
    path, now_ms = keys_path(settings), wall_ms()
    hours = arguments.overlap_hours
    with audited(settings, "keys.rotate", arguments.key, f"overlap {hours:g} h") as note:
        if not 0 <= hours <= 24 * 366:
            raise BadSettings(f"--overlap-hours {hours:g}: expected 0 to a year's")
        with changing(path) as ring:
            key = _found(ring, arguments.key)
            note.target = f"{key.name} ({key.key_id})"
            text, fresh = access.new_secret(
                key.key_id,
                secrets.token_bytes(access.SECRET_BYTES),
                secrets.token_bytes(access.SALT_BYTES),
                now_ms=now_ms,
            )
            renewed = access.rotated(key, fresh, now_ms, round(hours * HOUR_MS))
            _write(path, KeyRing(keys=tuple(renewed if e is key else e for e in ring.keys)))
        end = f"the former one is valid for {hours:g} h more" if hours else "the former one ended"
        _show(text, f"key {key.name} ({key.key_id}); {end}")


def _revoke(settings: Settings, arguments: argparse.Namespace) -> None:
    path = keys_path(settings)
    with audited(settings, "keys.revoke", arguments.key) as note, changing(path) as ring:
        key = _found(ring, arguments.key)
        note.target = f"{key.name} ({key.key_id})"
        write_keys(path, KeyRing(keys=tuple(each for each in ring.keys if each is not key)))
        print(f"revoked: {key.name} ({key.key_id})")


def _list(settings: Settings, arguments: argparse.Namespace) -> None:
    path = keys_path(settings)
    keys = read_keys(path).keys if path.exists() else ()
    if arguments.json:
        print(json.dumps([as_object(each) for each in keys]))
    elif keys:
        print(keys_text(keys, wall_ms()), end="")
    else:
        print(f"no keys in {path}")


def as_object(key: ApiKey) -> dict[str, object]:
    """A key for a program, without salts and digests."""
    shown: dict[str, object] = msgspec.to_builtins(key)
    shown["secrets"] = [{"made_ms": e.made_ms, "until_ms": e.until_ms} for e in key.secrets]
    return shown


def keys_text(keys: Sequence[ApiKey], now_ms: int) -> str:
    """The keys, a line each."""
    rows = []
    for key in keys:
        alive = [each for each in key.secrets if each.until_ms is None or each.until_ms > now_ms]
        rows.append(
            (
                key.name,
                key.key_id,
                ",".join((*key.surfaces, *key.tasks)) or "-",
                f"{key.rate:g}/s, {key.at_once} at once" if key.rate else "-",
                _when(key.made_ms),
                _when(key.until_ms),
                str(len(alive)),
                ",".join(key.scopes),
            )
        )
    names = ("name", "id", "only", "rate", "made", "valid until", "secrets", "scopes")
    return as_text(names, rows, None)


def _found(ring: KeyRing, wanted: str) -> ApiKey:
    for key in ring.keys:
        if wanted in (key.name, key.key_id):
            return key
    names = ", ".join(key.name for key in ring.keys) or "none"
    raise BadSettings(f"no key {wanted!r}; there are: {names}")


def _write(path: Path, ring: KeyRing) -> None:
    """Replaces the file with keys that a process would take; raises BadSettings else."""
    access.parse_keys(msgspec.json.encode(ring))
    write_keys(path, ring)


def _show(text: str, about: str) -> None:
    """The text alone on standard output, for a pipe; what it is on standard error."""
    print(text)
    print(about, file=sys.stderr)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _when(at_ms: int | None) -> str:
    if at_ms is None:
        return "-"
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M")
