"""The trainer's loop: one accepted retrain after another, each answered by one Publish.

The offset of a retrain is committed after its Publish is confirmed, so that a trainer that was
killed takes it up again; the version and the command then have the same ids as before.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from confluent_kafka import Consumer, Message
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.artefacts import ArtefactStore
from adapters.health import counters_text, start_health
from adapters.home import artefacts_url, home_of
from adapters.kafka import (
    consumer,
    ensure_topics,
    group_name,
    raise_if_lasting,
    topic_name,
)
from adapters.kafka_offsets import commit
from adapters.signals import stop_with
from adapters.signing import load_or_create, load_signing_key
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import InvalidEvent, Unavailable
from schemas.models import Publish, Retrain
from trainer.attempts import MOST, Attempts
from trainer.in_force import named_versions
from trainer.outbox import Outbox
from trainer.tidying import tidy

if TYPE_CHECKING:
    from trainer.work import Work

POLL_S = 0.5
LONGEST_TRAINING_MS = 86_400_000
"""Kafka is not polled in a training: after so long, the most that librdkafka takes, its offset can
no longer be committed and it would be trained again. A trainer that died is noticed in seconds."""
KEPT_VERSIONS = 20
_WORK = "trainer.work"

_log = logging.getLogger(__name__)


class Stopped(BaseException):
    """Raised inside a training when the process is asked to end: nothing of it is kept."""


class Trainer:
    """One trainer process, from start to stop."""

    def __init__(self, settings: Settings, *, show_bar: bool | None = None) -> None:
        self._settings = settings
        self._show_bar = show_bar
        self._store = ArtefactStore(artefacts_url(settings))
        self._key = _key(settings)
        self._work: Work | None = None
        self._stopping = False
        self._training = False
        self._ready = False
        self._began_s = 0.0
        self._answered: int | None = None
        self._counts: Counter[str] = Counter()
        self._attempts = Attempts(home_of(settings) / "trainer" / "attempts.json")
        for task, failures in {settings.task: 0, **self._attempts.in_a_row}.items():
            self._count(task, trained=0, failed=0)
            self._counts["failed_in_a_row" + _label(task)] = failures

    def stop(self) -> None:
        """Ends the loop; a training under way is given up and taken up at the next start."""
        self._stopping = True
        if self._training:
            raise Stopped

    def run(self) -> None:
        """Serves until a signal or `stop`; raises Unavailable when Kafka does."""
        ensure_topics(self._settings)
        stop_with(self.stop)
        health = None
        if self._settings.http_port:
            health = start_health(self._settings, lambda: self._ready, self.figures)
        outbox = Outbox(self._settings)
        reader = consumer(
            self._settings,
            group_name(self._settings, "trainer"),
            max_poll_interval_ms=LONGEST_TRAINING_MS,
        )
        try:
            reader.subscribe([topic_name(self._settings, topics.RETRAIN)])
            self._ready = True
            outbox.progress(ready=True)
            # Torch takes seconds to load: the trainer is ready before, and loads it meanwhile.
            threading.Thread(target=import_module, args=(_WORK,), name="loading").start()
            self._loop(reader, outbox)
        except Stopped:
            _log.info("training given up: it is taken up again at the next start")
        finally:
            self._ready = False
            reader.close()
            outbox.close()
            if health is not None:
                health.stop()

    def _loop(self, reader: Consumer, outbox: Outbox) -> None:
        decode = Decoder(Retrain)
        while not self._stopping:
            message = reader.poll(POLL_S)
            if message is None:
                continue
            if (error := message.error()) is not None:
                raise_if_lasting(error)
                continue
            retrain = _retrain(decode, message)
            if retrain is not None and retrain.state == "accepted":
                # It comes again where the broker took its offset no more after a long training.
                if message.offset() != self._answered:
                    self._answer(retrain, outbox)
                self._answered = message.offset()
            commit(reader, message)

    def _answer(self, retrain: Retrain, outbox: Outbox) -> None:
        """Trains and says how it went: a version, or why there is none."""
        outbox.progress(in_flight=[retrain.retrain_id], watermark_ms=retrain.event_time_ms)
        outbox.retrain(msgspec.structs.replace(retrain, state="training"))
        publish = self._trained(retrain)
        outbox.publish(publish)
        state = "failed" if publish.failed is not None else "published"
        outbox.retrain(
            msgspec.structs.replace(
                retrain,
                state=state,
                reason=publish.failed or retrain.reason,
                model_version=publish.model_version,
                cost_ms=self._settings.training_cost_ms,
            )
        )
        outbox.progress(in_flight=[])
        if publish.model_version is not None:
            self._prune(retrain.task, publish.model_version)
        tidy(self._settings)
        self._count(retrain.task, trained=1, failed=publish.failed is not None)
        in_a_row = self._counts["failed_in_a_row" + _label(retrain.task)]
        self._attempts.said(retrain.task, in_a_row)

    def _trained(self, retrain: Retrain) -> Publish:
        self._training, self._began_s = True, time.monotonic()
        try:
            may_be = self._attempts.begin(retrain.retrain_id)
            if self._work is None:
                self._work = _loaded(self._settings, self._store, self._key, self._show_bar)
            if not may_be:
                return self._work.gave_up(retrain, f"crashed: it ended the trainer {MOST} times")
            return self._work.answer(retrain)
        finally:
            self._training = False
            self._attempts.end(retrain.retrain_id)

    def _prune(self, task: str, newest: str) -> None:
        """Deletes versions that nothing names; what cannot be done now is done the next time."""
        try:
            named = named_versions(self._settings, task) | {newest}
            gone = self._store.prune(task, named, KEPT_VERSIONS)
        except (Unavailable, OSError) as error:
            _log.warning("no version was deleted: %s", error)
            return
        if gone:
            _log.info("deleted %d versions that nothing names", len(gone))

    def _count(self, task: str, *, trained: int, failed: int) -> None:
        """Counts a training of a task; failures also since its last version."""
        label = _label(task)
        self._counts["trainings_total" + label] += trained
        self._counts["failures_total" + label] += failed
        in_a_row = "failed_in_a_row" + label
        self._counts[in_a_row] = self._counts[in_a_row] + failed if failed else 0

    def figures(self) -> str:
        """Trainings by task, and how long the present one has taken, as Prometheus text."""
        work = self._work
        now = {
            "last_seconds": work.last_seconds if work is not None else 0.0,
            "training_age_seconds": time.monotonic() - self._began_s if self._training else 0.0,
            "ready": float(self._ready),
        }
        return counters_text("shoploop_trainer", {**self._counts, **now})


def _label(task: str) -> str:
    return f"{{task={json.dumps(task, ensure_ascii=False)}}}"


def _key(settings: Settings) -> Ed25519PrivateKey:
    if settings.signing_key:
        return load_signing_key(Path(settings.signing_key))
    return load_or_create(home_of(settings))


def _loaded(
    settings: Settings, store: ArtefactStore, key: Ed25519PrivateKey, show_bar: bool | None
) -> Work:
    from trainer.work import Work  # waits for the thread that loads it

    return Work(settings, store, key, show_bar)


def _retrain(decode: Decoder, message: Message) -> Retrain | None:
    """The record, or None when it does not decode: this topic is written by the decider alone."""
    try:
        retrain: Retrain = decode(message.value())
    except InvalidEvent as error:
        place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        _log.error("%s is left aside: %s", place, error)
        return None
    return retrain
