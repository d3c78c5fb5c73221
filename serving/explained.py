"""Finds what an explanation needs: the answer, the weights it was ranked with, its model.

Answers of this replica are in memory for a while; others, and those from before, are in
ClickHouse once the sink has stored them. Decides nothing: `core/explained.py` does the sums.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from adapters.clickhouse import ClickHouse, connected
from adapters.onnx import GRAPH_ERRORS, LoadedVersion
from core.explained import explanation
from core.ranking import RankerWeights
from schemas.errors import BadSettings, InvalidEvent, Unavailable
from schemas.http_explained import EventGain, Explanation
from schemas.predictions import Context, Prediction, Slot
from serving.engine import Engine

NEWEST = 1_000
CLICKHOUSE_WITHIN_S = 2.0
AWAY_S = 5.0
_LONGEST_ID = 128
_NOT_NOW = "answers that are not in memory cannot be looked up now"
_PLAIN = (
    "prediction_id", "request_id", "visitor_id", "task", "surface", "served_at_ms", "policy",
    "arm", "model_version", "weights_version", "degraded",
)  # fmt: skip
_OF_SLOTS = ("item_id", "position", "score", "propensity", "source", "features")
_ANSWER = (
    f"SELECT {', '.join(_PLAIN)}, context_history, "
    f"{', '.join(f'`slots.{name}`' for name in _OF_SLOTS)} "
    "FROM predictions WHERE prediction_id = {id:String} LIMIT 1"
)
_WEIGHTS = "SELECT names, coef, bias FROM weights WHERE version = {version:String} LIMIT 1"


log = logging.getLogger(__name__)
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Prediction).decode


class _Answer(NamedTuple):
    prediction: Prediction
    weights: RankerWeights | None


class _Kept(NamedTuple):
    """As `_Answer`, packed: a thousand answers of a hundred items are 100,000 lists of numbers.

    The cycle collector walked them in 30 ms, and they took 100 MB more.
    """

    packed: bytes
    weights: RankerWeights | None


class Explainer:
    """Explains answers by their id; `remember` and `of` may be called by different threads.

    Args:
        clickhouse: its DSN.
        engine: versions and weights in use now.
        now_s: the time, in seconds.
    """

    def __init__(
        self,
        clickhouse: str,
        engine: Callable[[], Engine],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now_s = now_s
        self._clickhouse = clickhouse
        self._engine = engine
        self._newest: OrderedDict[str, _Kept] = OrderedDict()
        self._away_until_s = -1.0

    def remember(self, prediction: Prediction) -> None:
        """Keeps an answer among the newest thousand, with the weights that it names."""
        weights = _weights_in(self._engine(), prediction)
        # A question may name hundreds of thousands of bytes of which nothing is explained.
        context = Context(history=prediction.context.history)
        small = msgspec.structs.replace(prediction, considered=[], context=context)
        self._newest[prediction.prediction_id] = _Kept(_pack(small), weights)
        if len(self._newest) > NEWEST:
            self._newest.popitem(last=False)

    def of(self, prediction_id: str) -> Explanation:
        """Why the items of an answer stand where they stand.

        Raises:
            InvalidEvent: unknown_prediction.
            Unavailable: ClickHouse is away or refuses, and only it can say. Why is in the log: its
                own words tell of the store, and may quote what was asked.
        """
        kept = self._newest.get(prediction_id)
        if kept is not None:
            answer = _Answer(_unpack(kept.packed), kept.weights)
        else:
            answer = self._stored(prediction_id)
        gains, unsaid = _gains(self._engine(), answer.prediction)
        return explanation(answer.prediction, answer.weights, gains, unsaid)

    def _stored(self, prediction_id: str) -> _Answer:
        if len(prediction_id) > _LONGEST_ID:
            raise InvalidEvent("unknown_prediction", "no answer has an id as long as this")
        if self._now_s() < self._away_until_s:
            raise Unavailable(_NOT_NOW)
        try:
            return self._looked_up(prediction_id)
        except (BadSettings, Unavailable) as error:  # no table yet is nothing a caller could mend
            self._away_until_s = self._now_s() + AWAY_S
            kind, code = type(error).__name__, getattr(error.__cause__, "code", None)
            log.warning("ClickHouse could not be asked for an answer: %s, code %s", kind, code)
            raise Unavailable(_NOT_NOW) from error

    def _looked_up(self, prediction_id: str) -> _Answer:
        with connected(self._clickhouse, deadline_s=CLICKHOUSE_WITHIN_S) as client:
            prediction = _prediction_in(client, prediction_id)
            weights = _weights_in(self._engine(), prediction)
            if weights is None and prediction.weights_version:
                weights = _stored_weights(client, prediction.weights_version)
        return _Answer(prediction, weights)


def _prediction_in(client: ClickHouse, prediction_id: str) -> Prediction:
    rows = client.query_rows(_ANSWER, {"id": prediction_id})
    if not rows:
        raise InvalidEvent("unknown_prediction", f"there is no answer {prediction_id!r}")
    row = rows[0]
    plain: dict[str, Any] = dict(zip(_PLAIN, row, strict=False))
    history, columns = row[len(_PLAIN)], row[len(_PLAIN) + 1 :]
    slots = [
        msgspec.convert(dict(zip(_OF_SLOTS, values, strict=True)), Slot)
        for values in zip(*columns, strict=True)
    ]
    return msgspec.convert(
        {**plain, "kind": "prediction", "slots": slots, "context": Context(history=list(history))},
        Prediction,
    )


def _stored_weights(client: ClickHouse, version: str) -> RankerWeights | None:
    rows = client.query_rows(_WEIGHTS, {"version": version})
    if not rows:
        return None
    names, coef, bias = rows[0]
    return RankerWeights(tuple(names), np.asarray(coef, np.float64), float(bias), version)


def _weights_in(engine: Engine, prediction: Prediction) -> RankerWeights | None:
    """The weights that the answer names, when they are in use or shipped with a loaded version."""
    version = _loaded(engine, prediction.model_version)
    shipped = list(version.ranker.values()) if version is not None else []
    known = [engine.live.get(prediction.surface), engine.frozen.get(prediction.surface), *shipped]
    wanted = prediction.weights_version
    return next((each for each in known if each is not None and each.version == wanted), None)


def _loaded(engine: Engine, name: str) -> LoadedVersion | None:
    roles = (engine.champion, engine.canary, engine.challenger, engine.control)
    return next((each for each in roles if each is not None and each.version == name), None)


def _gains(engine: Engine, prediction: Prediction) -> tuple[dict[str, list[EventGain]], list[str]]:
    """By item, what each event of the history adds to what the model says of it.

    The model is asked once, with the whole history and each with one event left out.
    """
    history = prediction.context.history
    if not prediction.model_version or not history or not prediction.slots:
        return {}, []
    version = _loaded(engine, prediction.model_version)
    if version is None:
        return {}, [f"model version {prediction.model_version} is not loaded here any more"]
    columns = version.words.index
    known = [slot.item_id for slot in prediction.slots if slot.item_id in columns]
    asked = [history, *(history[:i] + history[i + 1 :] for i in range(len(history)))]
    try:
        scores = version.score(asked, [columns[name] + 1 for name in known])
    except GRAPH_ERRORS as error:
        log.warning("version %s failed on an explanation", version.version, exc_info=error)
        return {}, ["the model failed"]
    gains = (scores[:1] - scores[1:]).astype(float)
    return {
        name: [
            EventGain(place=i, item_id=item, gain=float(gains[i, column]))
            for i, item in enumerate(history)
        ]
        for column, name in enumerate(known)
    }, []
