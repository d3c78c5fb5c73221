"""One trace from the HTTP request to the judgement of its answer, through record headers."""

from pathlib import Path

import httpx
import msgspec
from otlp_receiver import Receiver
from serving_factory import Shop, reading, running, wall_ms
from streams_factory import Worker, purchase

from adapters.kafka import topic_name
from core.settings import Settings
from core.trace_context import TRACEPARENT, traceparent_of
from schemas import topics
from schemas.codec import encode
from schemas.predictions import RecommendRequest

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = CALLER.split("-")[1]


def test_a_request_is_one_trace_until_its_outcome(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    settings = Settings(
        kafka=kafka_address,
        topic_prefix=unique_prefix,
        home=str(tmp_path),
        purchase_window_ms=1_500,
        orphan_skew_ms=300,
    )
    shop = Shop(settings)
    shop.stock()
    shop.point(shop.version(1))
    with (
        Receiver() as receiver,
        reading(settings, topics.OUTCOMES) as outcomes,
        reading(settings, topics.PREDICTIONS) as predictions,
    ):
        told = {"SHOPLOOP_OTLP": receiver.address, "SHOPLOOP_TRACE_RATIO": "0"}
        traced = msgspec.structs.replace(settings, otlp=receiver.address, trace_ratio=0.0)
        with running(settings, extra=told) as replica, Worker(traced) as worker:
            body = {"visitor_id": "marked-visitor", "k": 3}
            reply = httpx.post(
                f"{replica.url}/v1/recommend", json=body, headers={TRACEPARENT: CALLER}
            )
            answer = reply.json()["prediction_id"]
            httpx.post(f"{replica.url}/v1/recommend", json=body)
            event = purchase("e1", "marked-visitor", wall_ms(), answer)
            shop.write(topics.EVENTS, "marked-visitor", encode(event))
            shop.flush()
            outcomes.until(lambda said: any(each.prediction_id == answer for each in said))
            assert replica.stop() == 0
            assert worker.stop() == 0
        names = {"request", "queue", "answer", "log", "judge"}
        spans = receiver.until(lambda said: names <= {each.name for each in said})
    assert {span.trace_id for span in spans} == {TRACE}
    (request,) = (span for span in spans if span.name == "request")
    assert request.parent == CALLER.split("-")[2]
    assert {span.parent for span in spans if span is not request} == {request.span_id}
    assert {span.service for span in spans} == {"shoploop-serving", "shoploop-streams"}
    with_trace = [each for each in predictions.messages if traceparent_of(each.headers())]
    assert len(with_trace) <= 1
    (judged,) = (
        message
        for message, outcome in zip(outcomes.messages, outcomes.records, strict=True)
        if outcome.prediction_id == answer
    )
    carried = traceparent_of(judged.headers())
    assert carried is not None
    assert carried.decode().split("-")[1] == TRACE
    assert not any(b"marked-visitor" in sent for sent in receiver.bodies)


def test_a_trace_goes_on_from_a_request_over_kafka_without_a_collector(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = Shop(Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path)))
    shop.stock()
    name = topic_name(shop.settings, topics.REQUESTS)
    for request_id, trace in (("with", CALLER), ("without", "nonsense from elsewhere")):
        request = encode(RecommendRequest(request_id=request_id, visitor_id="first"))
        shop.producer.produce(name, request, b"first", headers=[(TRACEPARENT, trace.encode())])
    shop.flush()
    with running(shop.settings), reading(shop.settings, topics.PREDICTIONS) as predictions:
        predictions.until(lambda said: len(said) >= 2)
    found = {
        record.request_id: traceparent_of(message.headers())
        for message, record in zip(predictions.messages, predictions.records, strict=True)
    }
    assert found == {"with": CALLER.encode(), "without": None}
