"""`shoploop dlq`: what was refused and why, and sending it again once the cause is mended."""

from __future__ import annotations

import argparse
import json
from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from console import tables
from console.audit import audited
from console.orders import add_place, settings_here
from console.resend import Sender, read_letters, read_resent
from core.dead_letters import Count, Letter, Wanted, counted, readable
from core.settings import Settings
from schemas import topics
from schemas.codec import MESSAGE_HEADER, ORIGIN_HEADER
from schemas.errors import BadSettings
from schemas.topics import Topic

HELP = "Show dead letters (records that were refused), or send them again."
SOURCES: dict[str, Topic] = {
    str(each.refused_from): topics.BY_NAME[str(each.refused_from)] for each in topics.DEAD_LETTERS
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `dlq`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|replay")
    listing = actions.add_parser("list", help="how many, by topic and reason")
    listing.add_argument("topic", nargs="?", choices=SOURCES, help="the topic that refused them")
    show = actions.add_parser("show", help="letters with their bytes, the newest last")
    show.add_argument("topic", choices=SOURCES, help="the topic that refused them")
    show.add_argument("--limit", type=_count, default=10, help="how many at most (default: 10)")
    replay = actions.add_parser("replay", help="send letters to the topic that refused them")
    replay.add_argument("topic", choices=SOURCES, help="the topic that refused them")
    replay.add_argument("--limit", type=_count, help="how many at most, the oldest first")
    replay.add_argument("--dry-run", action="store_true", help="say what would be sent")
    replay.add_argument("--again", action="store_true", help="also those sent again before")
    replay.add_argument("--from-file", type=Path, help="send these bytes for the one letter")
    for each in (show, replay):
        _add_filters(each)
    for each in (listing, show, replay):
        each.add_argument("--json", action="store_true", help="as JSON")
        add_place(each)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", help="only letters refused with this word")
    parser.add_argument("--partition", type=int, help="only this partition of the dead letters")
    parser.add_argument("--offset", type=int, help="only this offset")
    parser.add_argument("--from-offset", type=int, help="only this offset and later ones")
    parser.add_argument("--to-offset", type=int, help="only offsets before this one")


def run(arguments: argparse.Namespace) -> int:
    """List, show or send again."""
    settings = settings_here(arguments)
    actions = {"list": _list, "show": _show, "replay": _replay}
    actions[arguments.action](settings, arguments)
    return 0


def _list(settings: Settings, arguments: argparse.Namespace) -> None:
    sources = [SOURCES[arguments.topic]] if arguments.topic else list(SOURCES.values())
    counts = counted(read_letters(settings, sources), read_resent(settings))
    if arguments.json:
        _print_json(msgspec.to_builtins(counts))
    elif counts:
        print(counts_text(counts), end="")
    else:
        print("no dead letters")


def counts_text(counts: Sequence[Count]) -> str:
    """The counts, a line each: a reason is there to be copied."""
    rows = [
        (each.topic, each.reason, each.letters, each.resent, first, last)
        for each in counts
        for first, last in [(_when(each.first_ms), _when(each.last_ms))]
    ]
    return tables.as_text(("topic", "reason", "letters", "sent again", "first", "last"), rows, None)


def _show(settings: Settings, arguments: argparse.Namespace) -> None:
    found = _chosen(settings, arguments)
    resent = read_resent(settings)
    newest = deque(found, maxlen=arguments.limit)
    if arguments.json:
        _print_json([as_object(letter, letter.place in resent) for letter in newest])
        return
    for letter in newest:
        print(as_text(letter, letter.place in resent))
    if not newest:
        print("no such dead letter")


def as_text(letter: Letter, resent: bool) -> str:
    """One letter for a person."""
    headers = [f"  {name}: {letter.header(name)}" for name, _ in letter.headers]
    lines = [
        f"{letter.place}  {_when(letter.at_ms)}{'  sent again' if resent else ''}",
        f"reason: {letter.reason}",
        f"message: {letter.header(MESSAGE_HEADER)}",
        f"origin: {letter.header(ORIGIN_HEADER)}",
        f"key: {readable(letter.key) if letter.key is not None else 'none'}",
        "headers:",
        *headers,
        "value:",
        readable(letter.value),
    ]
    return "\n".join(lines) + "\n"


def as_object(letter: Letter, resent: bool) -> dict[str, Any]:
    """One letter for a program; `value` holds its text, or `value_hex` its bytes when not text."""
    made: dict[str, Any] = {
        "place": letter.place,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "at_ms": letter.at_ms,
        "reason": letter.reason,
        "message": letter.header(MESSAGE_HEADER),
        "origin": letter.header(ORIGIN_HEADER),
        "resent": resent,
        "key": None if letter.key is None else letter.key.decode("utf-8", "replace"),
        "headers": {name: letter.header(name) for name, _ in letter.headers},
    }
    value = letter.value or b""
    try:
        return made | {"value": value.decode()}
    except UnicodeDecodeError:
        return made | {"value_hex": value.hex()}


def _replay(settings: Settings, arguments: argparse.Namespace) -> None:
    if arguments.dry_run:
        _send_again(settings, arguments, None)
        return
    with audited(settings, "dlq.replay", arguments.topic, _asked(arguments)) as note:
        sent = _send_again(settings, arguments, Sender(settings))
        note.detail = f"{sent} letters; {note.detail}".rstrip("; ")


def _asked(arguments: argparse.Namespace) -> str:
    """Which letters were asked for, without the bytes of any."""
    named = ("reason", "partition", "offset", "from_offset", "to_offset", "limit", "again")
    given = ((name, getattr(arguments, name)) for name in named)
    said = [f"{name}={value}" for name, value in given if value is not None and value is not False]
    return " ".join([*said, "edited"] if arguments.from_file else said)


def _send_again(settings: Settings, arguments: argparse.Namespace, sender: Sender | None) -> int:
    resent = sender.resent if sender is not None else read_resent(settings)
    matching = list(_chosen(settings, arguments))
    fresh = [each for each in matching if arguments.again or each.place not in resent]
    whole = [each for each in fresh if arguments.from_file or not each.is_cut]
    letters = list(islice(whole, arguments.limit))
    edited = _edited(arguments.from_file, letters)
    sent = sender.send(letters, edited) if sender is not None else 0
    passed_over, cut = len(matching) - len(fresh), len(fresh) - len(whole)
    if arguments.json:
        places = [letter.place for letter in letters]
        _print_json({"sent": sent, "letters": places, "sent_before": passed_over, "cut": cut})
        return sent
    for letter in letters if sender is None else ():
        print(f"would send {letter.place}  {letter.reason}")
    before = f"; {passed_over} were sent before (--again sends them too)" if passed_over else ""
    before += f"; {cut} were cut when they were refused and need --from-file" if cut else ""
    what = f"{len(letters)} to send" if sender is None else f"{sent} sent again"
    print(f"{what} to {arguments.topic}{before}")
    return sent


def _edited(path: Path | None, letters: Sequence[Letter]) -> bytes | None:
    """The bytes of the file that stand for the one letter."""
    if path is None:
        return None
    if len(letters) != 1:
        raise BadSettings(
            f"--from-file stands for one letter, {len(letters)} were chosen: "
            "name it by --partition and --offset"
        )
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadSettings(f"--from-file {path}: {error.strerror}") from error


def _chosen(settings: Settings, arguments: argparse.Namespace) -> Iterable[Letter]:
    begin, end = arguments.from_offset, arguments.to_offset
    if arguments.offset is not None:
        begin, end = arguments.offset, arguments.offset + 1
    wanted = Wanted(
        reason=arguments.reason,
        partition=arguments.partition,
        from_offset=begin,
        to_offset=end,
    )
    return filter(wanted, read_letters(settings, [SOURCES[arguments.topic]]))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return number


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))
