"""A record of every admin action on the topic `audit`, never silently lost.

Before an action its record lies under `<home>/audit`, with the outcome `unknown`; after it with the
outcome there was. Then everything that lies there is sent, and removed once Kafka has it. So a
command works while the broker is away, and what a killed one left goes with the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import KafkaException

from adapters.clock import wall_ms
from adapters.home import home_of
from adapters.kafka import ensure_topics, producer, topic_name
from adapters.private_file import replace_private
from console.orders import user
from core.settings import Settings
from schemas import topics
from schemas.audit import AdminAction
from schemas.codec import cloud_headers, encode
from schemas.errors import BadSettings, FeedbackError, InvalidEvent, Unavailable
from schemas.ids import new_id

SENT_WITHIN_S = 3.0
_SOURCE = "shoploop/console"
_DONE, _BEGUN = ".json", ".begun"
_LONGEST = 500


class Note:
    """What the action adds to its record while it runs."""

    def __init__(self, target: str, detail: str) -> None:
        self.target = target
        self.detail = detail


@contextlib.contextmanager
def audited(settings: Settings, action: str, target: str, detail: str = "") -> Iterator[Note]:
    """Puts what the block does on record, with how it ended.

    Raises:
        BadSettings: the record cannot be written: nothing is done then.
    """
    spool = Spool(settings)
    note = Note(target, detail)
    begun = AdminAction(
        audit_id=new_id(),
        event_time_ms=wall_ms(),
        actor=user(),
        action=action,
        target=target,
        outcome="unknown",
        detail=detail,
    )
    spool.begin(begun)
    outcome, why = "failed", ""
    try:
        yield note
        outcome = "done"
    except FeedbackError as error:
        outcome = "refused" if isinstance(error, BadSettings | InvalidEvent) else "failed"
        why = str(error)
        raise
    finally:
        said = "; ".join(part for part in (note.detail, why) if part)[:_LONGEST]
        spool.end(
            msgspec.structs.replace(
                begun,
                target=note.target,
                outcome=outcome,
                detail=said,
            )
        )
        _send(spool)


def _send(spool: Spool) -> None:
    """Sends what waits; what cannot go is said, and changes no outcome."""
    try:
        spool.send()
    except FeedbackError as error:
        waiting = len(spool.waiting())
        print(
            f"{waiting} audit record{'' if waiting == 1 else 's'} kept in {spool.folder} until the "
            f"next command: {error}",
            file=sys.stderr,
        )


class Spool:
    """The records of this home that Kafka has not confirmed, a file each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = home_of(settings) / "audit"

    def begin(self, record: AdminAction) -> None:
        """Keeps the record of an action that begins; raises BadSettings when it cannot."""
        replace_private(self._begun(record), encode(record))

    def end(self, record: AdminAction) -> None:
        """Keeps the record of an action that ended."""
        replace_private(self.folder / f"{record.audit_id}{_DONE}", encode(record))
        self._begun(record).unlink(missing_ok=True)

    def waiting(self) -> list[Path]:
        """The files of actions that ended, or whose command is no more, oldest first."""
        found = [path for path in self.folder.glob("*.*") if not path.name.startswith(".")]
        return sorted(path for path in found if path.suffix == _DONE or _is_left(path))

    def send(self) -> None:
        """Sends what waits and forgets what Kafka confirmed.

        Raises:
            Unavailable: Kafka did not take all of it in time.
            BadSettings: Kafka refused this command.
        """
        with self._alone():
            paths = self.waiting()
            if paths:
                ensure_topics(self._settings, (topics.AUDIT,), within_s=SENT_WITHIN_S)
                self._deliver(paths)

    def _deliver(self, paths: Sequence[Path]) -> None:
        client = producer(self._settings)
        failures: list[str] = []
        for path in paths:
            _produce(client, topic_name(self._settings, topics.AUDIT), path, failures)
        left = client.flush(SENT_WITHIN_S)
        if left or failures:
            why = failures[0] if failures else f"no answer within {SENT_WITHIN_S:g} s"
            raise Unavailable(f"not all sent to Kafka at {self._settings.kafka}: {why}")

    def _begun(self, record: AdminAction) -> Path:
        return self.folder / f"{record.audit_id}.{os.getpid()}{_BEGUN}"

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While no other command sends."""
        descriptor = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _produce(client: Any, topic: str, path: Path, failures: list[str]) -> None:
    data = path.read_bytes()
    try:
        record = msgspec.json.decode(data, type=AdminAction)
    except msgspec.DecodeError:
        failures.append(f"{path.name} is no audit record")
        return

    def delivered(error: Any, _message: Any) -> None:
        if error is None:
            path.unlink(missing_ok=True)
        else:
            failures.append(str(error))

    headers = list(cloud_headers("audit", record.audit_id, _SOURCE))
    try:
        client.produce(
            topic, key=record.actor.encode(), value=data, headers=headers, on_delivery=delivered
        )
    except (BufferError, KafkaException) as error:
        failures.append(str(error))


def _is_left(path: Path) -> bool:
    """Whether a begun action's command is no longer there to end it."""
    try:
        os.kill(int(path.suffixes[0].removeprefix(".")), 0)
    except ProcessLookupError:
        return path.suffix == _BEGUN
    except (PermissionError, ValueError, IndexError):
        return False
    return False
