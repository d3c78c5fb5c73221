"""One retrain from reading to the Publish that answers it: a version, or why there is none.

All that needs torch hangs from here: `trainer/app.py` is ready before this is loaded.
"""

from __future__ import annotations

import logging

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from adapters.artefacts import ArtefactStore
from adapters.home import home_of
from core.settings import Settings
from schemas.errors import BadSettings, FeedbackError, InvalidEvent, RejectedModel, Unavailable
from schemas.models import Publish, Retrain
from trainer.in_force import live_weights
from trainer.recommend.pipeline import Pipeline, Tools
from trainer.recommend.reading import read_shop
from trainer.records import record
from trainer.stages import Stages
from trainer.task_files import find_task
from trainer.text_work import TEXT_STAGES, Bench, offer_of
from trainer.version import Made, failure_of, publish_of

_log = logging.getLogger(__name__)


class Work:
    """What one trainer trains with; `last_seconds` says how long the last version took."""

    def __init__(
        self,
        settings: Settings,
        store: ArtefactStore,
        key: Ed25519PrivateKey,
        show_bar: bool | None,
    ) -> None:
        self.last_seconds = 0.0
        self._settings = settings
        self._show_bar = show_bar
        checkpoints = home_of(settings) / "checkpoints"
        self._pipeline = Pipeline(Tools(settings, store, key, checkpoints))
        self._bench = Bench(settings, store, key)

    def answer(self, retrain: Retrain) -> Publish:
        """Trains; whatever goes wrong becomes the reason of a Publish without a version."""
        ours = retrain.task == self._settings.task
        try:
            made = self._train(retrain) if ours else self._train_text(retrain)
        except FeedbackError as error:
            _log.error("retrain %s failed: %s", retrain.retrain_id, error)
            return self.gave_up(retrain, f"{_word(error)}: {error}")
        except Exception as error:  # noqa: BLE001 — one retrain; it ends in a Publish
            _log.exception("retrain %s failed", retrain.retrain_id)
            text = f"unexpected: {type(error).__name__}: {error}"
            return self.gave_up(retrain, text[:1_000])
        return publish_of(retrain, self._settings, made) if ours else offer_of(retrain, made)

    def gave_up(self, retrain: Retrain, reason: str) -> Publish:
        """The statement that a training failed; that of a text task is due at once."""
        failure = failure_of(retrain, self._settings, reason)
        if retrain.task == self._settings.task:
            return failure
        return msgspec.structs.replace(failure, event_time_ms=retrain.event_time_ms)

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
        return self._recorded(made, stages)

    def _train_text(self, retrain: Retrain) -> Made:
        task = find_task(self._settings, retrain.task)
        stages = Stages(f"retrain {retrain.retrain_id[:8]}", self._show_bar, TEXT_STAGES)
        try:
            made = self._bench.train(task, retrain, stages)
        finally:
            stages.close()
        return self._recorded(made, stages)

    def _recorded(self, made: Made, stages: Stages) -> Made:
        record(self._settings, made, stages.seconds)
        self.last_seconds = sum(stages.seconds.values())
        _log.info(
            "version %s, gate %s, seconds %s",
            made.manifest.version,
            made.gate.reason or "passed",
            {name: round(spent_s, 2) for name, spent_s in stages.seconds.items()},
        )
        return made


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
