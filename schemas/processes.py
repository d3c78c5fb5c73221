"""Who writes and who reads each topic: the operations of the contract.

`shop` is the backend that is being served; the others are shoploop's own processes.
"""

from typing import Literal

import msgspec

from schemas import topics
from schemas.topics import Topic

Action = Literal["send", "receive"]
OPERATED = tuple(each for each in topics.ALL if each is not topics.PROGRESS)
"""What the sink may read: everything but heartbeats; it leaves out what other tables repeat."""
_REPEATED = (topics.EVENTS, topics.SLOTS)


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One process: what it is for, its consumer group when it commits, its topics."""

    name: str
    summary: str
    receives: tuple[Topic, ...] = ()
    sends: tuple[Topic, ...] = ()
    group: str | None = None


SHOP = Process(
    name="shop",
    summary="the shop's backend",
    sends=(topics.EVENTS, topics.ITEMS, topics.REQUESTS, topics.ERASURES),
    receives=(topics.PREDICTIONS, topics.OUTCOMES, topics.ALERTS, topics.refused(topics.EVENTS)),
)
PROCESSES: tuple[Process, ...] = (
    SHOP,
    Process(
        name="streams.visitors",
        summary="validates events, joins them with answers",
        group="streams.visitors",
        receives=(topics.EVENTS, topics.PREDICTIONS),
        sends=(
            topics.EVENTS_VALID,
            topics.IDENTITIES,
            topics.OUTCOMES,
            topics.SLOTS,
            topics.PROGRESS,
            topics.refused(topics.EVENTS),
            topics.refused(topics.PREDICTIONS),
        ),
    ),
    Process(
        name="streams.tasks",
        summary="measures, learns, detects, decides",
        group="streams.tasks",
        receives=(topics.SLOTS, topics.COMMANDS),
        sends=(
            topics.METRICS,
            topics.DRIFT,
            topics.RETRAIN,
            topics.MODELS,
            topics.MODEL_LOG,
            topics.WEIGHTS,
            topics.ALERTS,
            topics.PROGRESS,
            topics.refused(topics.COMMANDS),
        ),
    ),
    Process(
        name="serving",
        summary="answers, over HTTP and over Kafka",
        group="serving",
        receives=(
            topics.EVENTS_VALID,
            topics.ITEMS,
            topics.REQUESTS,
            topics.MODELS,
            topics.WEIGHTS,
        ),
        sends=(
            topics.EVENTS,
            topics.PREDICTIONS,
            topics.MODEL_LOG,
            topics.PROGRESS,
            topics.refused(topics.REQUESTS),
            topics.refused(topics.ITEMS),
        ),
    ),
    Process(
        name="shadow",
        summary="scores challenger, control and baselines for every served request",
        receives=(
            topics.PREDICTIONS,
            topics.EVENTS_VALID,
            topics.ITEMS,
            topics.MODELS,
            topics.WEIGHTS,
        ),
        sends=(topics.PREDICTIONS, topics.PROGRESS),
    ),
    Process(
        name="trainer",
        summary="trains the next version when asked",
        group="trainer",
        receives=(topics.RETRAIN, topics.MODELS, topics.WEIGHTS),
        sends=(topics.RETRAIN, topics.COMMANDS, topics.PROGRESS),
    ),
    Process(
        name="sink",
        summary="stores every record in ClickHouse, once",
        group="sink",
        receives=tuple(each for each in OPERATED if each not in _REPEATED),
        sends=(topics.PROGRESS,),
    ),
    Process(
        name="console",
        summary="what an operator types",
        receives=(topics.MODELS, topics.MODEL_LOG, topics.RESENT, *topics.DEAD_LETTERS),
        sends=(
            topics.COMMANDS,
            topics.RESENT,
            topics.AUDIT,
            *(topics.BY_NAME[str(each.refused_from)] for each in topics.DEAD_LETTERS),
        ),
    ),
)
