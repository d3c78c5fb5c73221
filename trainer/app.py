"""The trainer's loop: one accepted retrain after another, each answered by one Publish.

The offset of a retrain is committed after its Publish is confirmed, so that a trainer that was
killed takes it up again; the version and the command then have the same ids as before.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, KafkaException, Message
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
from adapters.signals import stop_with
from adapters.signing import load_or_create, load_signing_key
from core.settings import Settings
from schemas import topics
from schemas.codec import Decoder
from schemas.errors import BadSettings, FeedbackError, InvalidEvent, RejectedModel, Unavailable
from schemas.models import Publish, Retrain
from trainer.in_force import live_weights, named_versions
from trainer.outbox import Outbox
from trainer.pipeline import Pipeline, Tools
from trainer.reading import read_shop
from trainer.stages import Stages
from trainer.tensorboard import log_version
from trainer.version import Made, failure_of, publish_of

POLL_S = 0.5
LONGEST_TRAINING_MS = 1_800_000
KEPT_VERSIONS = 20

_log = logging.getLogger(__name__)


class Stopped(BaseException):
    """Raised inside a training when the process is asked to end: nothing of it is kept."""


class Trainer:
    """One trainer process, from start to stop."""

    def __init__(self, settings: Settings, *, show_bar: bool | None = None) -> None:
        self._settings = settings
        self._home = home_of(settings)
        self._show_bar = show_bar
        self._store = ArtefactStore(artefacts_url(settings))
        self._pipeline = Pipeline(Tools(settings, self._store, _key(settings)))
        self._stopping = False
        self._training = False
        self._ready = False
        self._counts = {"trainings_total": 0.0, "failures_total": 0.0, "last_seconds": 0.0}

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
            health = start_health(
                self._settings.http_host, self._settings.http_port, lambda: self._ready, self._text
            )
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
                self._answer(retrain, outbox)
            _commit(reader, message)

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
        self._counts["trainings_total"] += 1
        self._counts["failures_total"] += publish.failed is not None

    def _trained(self, retrain: Retrain) -> Publish:
        self._training = True
        try:
            made = self._train(retrain)
        except FeedbackError as error:
            _log.error("retrain %s failed: %s", retrain.retrain_id, error)
            return failure_of(retrain, self._settings, f"{_word(error)}: {error}")
        except Exception as error:  # noqa: BLE001 — one retrain; it ends in a Publish
            _log.exception("retrain %s failed", retrain.retrain_id)
            text = f"unexpected: {type(error).__name__}: {error}"
            return failure_of(retrain, self._settings, text[:1_000])
        finally:
            self._training = False
        return publish_of(retrain, self._settings, made)

    def _train(self, retrain: Retrain) -> Made:
        stages = Stages(f"retrain {retrain.retrain_id[:8]}", self._show_bar)
        try:
            with stages.stage("read"):
                data = read_shop(self._settings, retrain)
                weights = {}
                if retrain.parent_version is not None:
                    weights = live_weights(self._settings, retrain.task)
            made = self._pipeline.run(self._pipeline.job(retrain, data, weights), stages)
        finally:
            stages.close()
        log_version(self._home / "tensorboard", made, stages.seconds)
        self._counts["last_seconds"] = sum(stages.seconds.values())
        _log.info(
            "version %s, gate %s, seconds %s",
            made.manifest.version,
            made.gate.reason or "passed",
            {name: round(spent_s, 2) for name, spent_s in stages.seconds.items()},
        )
        return made

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

    def _text(self) -> str:
        return counters_text("shoploop_trainer", self._counts)


def _key(settings: Settings) -> Ed25519PrivateKey:
    if settings.signing_key:
        return load_signing_key(Path(settings.signing_key))
    return load_or_create(home_of(settings))


def _word(error: FeedbackError) -> str:
    match error:
        case RejectedModel():
            return error.reason
        case InvalidEvent():
            return error.reason
        case Unavailable():
            return "unavailable"
        case BadSettings():
            return "bad_settings"
        case _:
            return "failed"


def _retrain(decode: Decoder, message: Message) -> Retrain | None:
    """The record, or None when it does not decode: this topic is written by the decider alone."""
    try:
        retrain: Retrain = decode(message.value())
    except InvalidEvent as error:
        place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        _log.error("%s is left aside: %s", place, error)
        return None
    return retrain


def _commit(reader: Consumer, message: Message) -> None:
    try:
        reader.commit(message=message, asynchronous=False)
    except KafkaException as error:
        raise Unavailable(f"the offset of retrain was not committed: {error}") from error
