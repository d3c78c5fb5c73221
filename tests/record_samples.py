"""One record of every topic that the sink stores, with all its fields filled."""

from __future__ import annotations

from typing import Any

from schemas import topics
from schemas.audit import AdminAction
from schemas.events import (
    Consent,
    EventItem,
    EventWatermark,
    Formerly,
    PurchaseMade,
    Searched,
)
from schemas.identities import Identity
from schemas.items import Item
from schemas.metrics import Alert, DriftAlarm, Metric
from schemas.models import (
    Erasure,
    Gate,
    GateCheck,
    ModelLog,
    ModelPointer,
    Order,
    Publish,
    Retrain,
    Weights,
)
from schemas.outcomes import Outcome, SlotLabel
from schemas.predictions import Context, Prediction, RecommendRequest, Slot
from schemas.resent import Resent
from schemas.topics import Topic
from schemas.watermarks import Watermark

AT_MS = 1_300_000_000_000


def slot(item_id: str = "22423", position: int = 1) -> Slot:
    return Slot(
        item_id=item_id, position=position, score=0.5, source="own", features=[0.25, 1.0, -2.0]
    )


def prediction(**changes: Any) -> Prediction:
    fields: dict[str, Any] = {
        "prediction_id": "p1",
        "request_id": "r1",
        "visitor_id": "v1",
        "task": "recommend",
        "surface": "home",
        "served_at_ms": AT_MS,
        "policy": "loop",
        "arm": "champion",
        "model_version": "m1",
        "weights_version": "w1",
        "slots": [slot(), slot("85123A", 2)],
        "considered": [slot("71053", 3)],
        "context": Context(history=["a", "b"], feature_schema="f1", seen_ms=AT_MS - 1),
        "session_id": "s1",
    }
    return Prediction(**{**fields, **changes})


def purchase(**changes: Any) -> PurchaseMade:
    fields: dict[str, Any] = {
        "event_id": "e1",
        "event_time_ms": AT_MS,
        "visitor_id": "v1",
        "session_id": "s1",
        "transaction_id": "t1",
        "value": 12.5,
        "currency": "GBP",
        "items": [
            EventItem(item_id="22423", quantity=2, price=1.25, source_id="2011-03-13.csv:2"),
            EventItem(item_id="85123A", prediction_id="p1"),
        ],
    }
    return PurchaseMade(**{**fields, **changes})


def outcome(**changes: Any) -> Outcome:
    fields: dict[str, Any] = {
        "outcome_id": "o1",
        "prediction_id": "p1",
        "request_id": "r1",
        "visitor_id": "v1",
        "task": "recommend",
        "surface": "home",
        "policy": "loop",
        "arm": "champion",
        "model_version": "m1",
        "weights_version": "w1",
        "served_at_ms": AT_MS,
        "age": "final",
        "version": 1,
        "closed_at_ms": AT_MS + 1,
        "slots": [
            SlotLabel(item_id="22423", position=1, state="positive", kind="purchase", at_ms=AT_MS),
            SlotLabel(item_id="85123A", position=2),
        ],
        "basket": ["22423"],
    }
    return Outcome(**{**fields, **changes})


GATE = Gate(passed=True, checks=[GateCheck(name="hr", passed=True, value=0.7, threshold=0.6, n=9)])
WEIGHTS = Weights(
    task="recommend",
    surface="home",
    role="live",
    model_version="m1",
    version="w1",
    event_time_ms=AT_MS,
    feature_schema="f1",
    names=["own", "popular"],
    coef=[0.5, -0.25],
    bias=0.125,
)
METRIC = Metric(
    metric_id="m1",
    task="recommend",
    surface="home",
    policy="loop",
    model_version="m1",
    arm="champion",
    age="final",
    name="hr@10",
    window_start_ms=AT_MS,
    window_end_ms=AT_MS + 1,
    value=0.5,
    n=10,
    low=0.25,
    high=0.75,
)
ALARM = DriftAlarm(
    drift_id="d1",
    task="recommend",
    surface="home",
    model_version="m1",
    detector="cusum",
    kind="concept",
    event_time_ms=AT_MS,
    statistic=9.0,
    threshold=8.0,
    baseline=0.7,
    current=0.5,
    effect=-0.2,
    n=500,
    minimum_detectable=0.1,
    status="confirmed",
)
RETRAIN = Retrain(
    retrain_id="rt1",
    task="recommend",
    state="proposed",
    kind="drift_error",
    reason="error rose",
    event_time_ms=AT_MS,
    data_until_ms=AT_MS,
    evidence={"hr": 0.5},
    offsets={"outcomes/0": 5},
)
_OTHERS: dict[Topic, list[Any]] = {
    topics.ITEMS: [Item(item_id="22423", updated_at_ms=AT_MS, title="Cakestand", price=12.75)],
    topics.IDENTITIES: [
        Identity(
            identity_id="i1",
            event_time_ms=AT_MS,
            visitor_id="k2.v1",
            reason="rekeyed",
            previous_ids=["k1.v1"],
            user_id="k2.u1",
            previous_user_ids=["k1.u1"],
        )
    ],
    topics.REQUESTS: [RecommendRequest(request_id="r1", visitor_id="v1", as_of_ms=AT_MS)],
    topics.METRICS: [METRIC],
    topics.DRIFT: [ALARM],
    topics.RETRAIN: [RETRAIN],
    topics.MODELS: [
        ModelPointer(
            task="recommend",
            sequence=1,
            event_time_ms=AT_MS,
            champion="m1",
            manifest_sha256={"m1": "00"},
            canary="m2",
            canary_percent=5,
        )
    ],
    topics.MODEL_LOG: [
        ModelLog(
            log_id="l1",
            task="recommend",
            model_version="m1",
            kind="gate",
            event_time_ms=AT_MS,
            gate=GATE,
        ),
        ModelLog(
            log_id="l2",
            task="recommend",
            model_version="m1",
            kind="promoted",
            event_time_ms=AT_MS,
            evidence={"gain": 0.02},
        ),
    ],
    topics.COMMANDS: [
        Publish(
            command_id="c1",
            task="recommend",
            retrain_id="rt1",
            event_time_ms=AT_MS,
            gate=GATE,
            model_version="m1",
        ),
        Order(command_id="c2", task="recommend", action="pin", event_time_ms=AT_MS, by="me"),
    ],
    topics.WEIGHTS: [WEIGHTS],
    topics.ALERTS: [
        Alert(
            alert_id="a1",
            name="stuck",
            severity="page",
            state="raised",
            event_time_ms=AT_MS,
            summary="no events",
            evidence={"lag": 3.0},
        ),
        Alert(
            alert_id="a2",
            name="drifted",
            severity="ticket",
            state="cleared",
            event_time_ms=AT_MS,
            summary="what is bought has moved away",
            task="recommend",
            scope="home",
            runbook="docs/runbook.md#drifted",
            inhibited_by=["burst/visitors"],
            raised_at_ms=AT_MS,
        ),
    ],
    topics.ERASURES: [Erasure(visitor_id="v1", requested_at_ms=AT_MS)],
    topics.RESENT: [
        Resent(
            letter="shoploop.events.dlq.v1[0]@7",
            topic="events",
            reason="malformed",
            sent_at_ms=AT_MS,
            edited=True,
            by="me",
        )
    ],
    topics.AUDIT: [
        AdminAction(
            audit_id="a1",
            event_time_ms=AT_MS,
            actor="me",
            action="models.promote",
            target="recommend m2",
            outcome="done",
            detail="looks right",
        )
    ],
}
RECORDS: dict[Topic, list[Any]] = {
    topics.EVENTS_VALID: [
        purchase(),
        Searched(event_id="e2", event_time_ms=AT_MS, visitor_id="v2", query="lantern"),
        Searched(
            event_id="e3",
            event_time_ms=AT_MS,
            visitor_id="k2.v3",
            query="lamp for <email>",
            user_id="k2.u1",
            consent=Consent(training=False),
            ip="203.0.113.0",
            user_agent="Firefox/145",
            formerly=Formerly(visitor_ids=["k1.v3"], user_ids=["k1.u1"], session_ids=["k1.s3"]),
        ),
        EventWatermark(event_time_ms=AT_MS, barrier=1, run_id="run"),
    ],
    topics.PREDICTIONS: [
        prediction(),
        prediction(prediction_id="p2", slots=[], considered=[], context=Context()),
        Watermark(event_time_ms=AT_MS, barrier=1, run_id="run"),
    ],
    topics.OUTCOMES: [outcome()],
    **_OTHERS,
}
