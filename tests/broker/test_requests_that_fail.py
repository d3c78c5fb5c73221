"""A question that cannot be answered is a dead letter; the others are answered exactly once."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Message
from large_records import write_compressed, write_largest
from serving_factory import Reader, Shop, answers_of, reading

from adapters.kafka import topic_name
from adapters.log import JsonLines
from core.settings import Settings
from schemas import topics
from schemas.codec import CUT_HEADER, MESSAGE_HEADER, ORIGIN_HEADER, REASON_HEADER
from schemas.predictions import ClassifyRequest, Prediction
from serving.answer import Moment
from serving.desk import Desk
from serving.metrics import Metrics
from serving.requests import RequestLoop

MARK = "mk7q"


class Scorer:
    """Answers texts, each in the order of the batch; some texts bring out a fault."""

    def __init__(self, *, full_disk: bool = False) -> None:
        self.full_disk = full_disk

    def checked(self, request: ClassifyRequest) -> ClassifyRequest:
        if request.text == "bug in the check":
            raise IndexError(request.visitor_id)
        return request

    def answer(self, batch: list[ClassifyRequest], moment: Moment) -> list[Prediction]:
        return [self._one(request, moment) for request in batch]

    def _one(self, request: ClassifyRequest, moment: Moment) -> Prediction:
        if request.text == "bug":
            raise KeyError(request.visitor_id)
        if request.text == "disk" and self.full_disk:
            raise OSError(28, "No space left on device")
        return Prediction(
            prediction_id=f"p-{request.request_id}",
            request_id=request.request_id,
            visitor_id=request.visitor_id,
            task=request.task,
            surface="classify",
            served_at_ms=moment.wall_ms,
            policy="loop",
            arm="champion",
            model_version="m",
            weights_version="",
            slots=[],
            query="x" * 1_100_000 if request.text == "long" else None,
        )


class Answering:
    """The loop as a serving process runs it, in a thread."""

    def __init__(self, settings: Settings, scorer: Scorer) -> None:
        unused: Any = None
        live: Any = SimpleNamespace(merge=SimpleNamespace(in_replay=False))
        desk = Desk(settings, "serving-1", live, unused, words={ClassifyRequest: scorer})
        self.metrics, self.raised = Metrics(), []
        self._loop = RequestLoop(settings, "serving-1", desk, self.metrics)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._loop.run(self._stopping)
        except Exception as error:  # noqa: BLE001 — handed to the test
            self.raised.append(error)

    def ended(self) -> list[Exception]:
        """What ended it; waits until it has ended."""
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()
        return self.raised

    def stop(self) -> list[Exception]:
        """Asks it to end; what it raised."""
        self._stopping.set()
        return self.ended()


@contextmanager
def answering(settings: Settings) -> Iterator[Answering]:
    """A loop that ends without an error."""
    loop = Answering(settings, Scorer())
    raised: list[Exception] = []
    try:
        yield loop
    finally:
        raised = loop.stop()
    assert raised == []


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What a process would write to its log."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(JsonLines("serving-1"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield text
    finally:
        root.removeHandler(handler)


@pytest.fixture
def shop(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Shop:
    return Shop(Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path)))


def ask(shop: Shop, *texts: str, **fields: Any) -> list[str]:
    """Questions of one visitor, so that they come in this order; their ids."""
    names = [f"{text} {number} {MARK}" for number, text in enumerate(texts)]
    for name, text in zip(names, texts, strict=True):
        request = ClassifyRequest(
            request_id=name, visitor_id=f"v-{MARK}", task="tone", text=text, **fields
        )
        shop.write(topics.REQUESTS, request.visitor_id, request)
    shop.flush()
    return names


def letters(refused: Reader, count: int) -> list[tuple[Message, dict[str, bytes]]]:
    """So many dead letters with their headers."""
    refused.until(lambda _: len(refused.messages) >= count)
    return [(each, dict(each.headers() or [])) for each in refused.messages]  # type: ignore[arg-type]


def test_a_bug_that_one_question_brings_out_costs_the_others_nothing(shop: Shop) -> None:
    names = ask(shop, "good", "bug", "good", "bug in the check", "long", "good")
    again = ["good 0 again"]
    with (
        answers_of(shop.settings) as predictions,
        reading(shop.settings, topics.refused(topics.REQUESTS)) as refused,
        logged() as log,
    ):
        with answering(shop.settings) as loop:
            predictions.answers([names[0], names[2], names[5]])
            found = letters(refused, 3)
            text = loop.metrics.text()
        with answering(shop.settings):  # begins after what is answered, dead letters included
            request = ClassifyRequest(request_id=again[0], visitor_id="v", task="tone", text="good")
            shop.write(topics.REQUESTS, "v", request)
            shop.flush()
            predictions.answers(again)
    assert {name: len(given) for name, given in predictions.served().items()} == dict.fromkeys(
        [names[0], names[2], names[5], *again], 1
    )
    assert len(refused.messages) == 3
    by_name = {(message.value() or b"").split(b'"')[7].decode(): head for message, head in found}
    assert {name: head[REASON_HEADER] for name, head in by_name.items()} == {
        names[1]: b"internal",
        names[3]: b"internal",
        names[4]: b"too_large",
    }
    assert b"KeyError" in by_name[names[1]][MESSAGE_HEADER]
    assert b"requests.v1[" in by_name[names[1]][ORIGIN_HEADER]
    assert all(MARK.encode() not in head[MESSAGE_HEADER] for head in by_name.values())
    assert 'shoploop_serving_refused_total{reason="internal"} 2.0' in text
    assert "in _one" in log.getvalue()
    assert MARK not in log.getvalue()


def test_a_full_disk_ends_the_process_and_no_question_is_lost(shop: Shop) -> None:
    names = ask(shop, "good", "disk", "bug", "good")
    with (
        answers_of(shop.settings) as predictions,
        reading(shop.settings, topics.refused(topics.REQUESTS)) as refused,
    ):
        (error,) = Answering(shop.settings, Scorer(full_disk=True)).ended()
        assert isinstance(error, OSError)
        with answering(shop.settings):
            predictions.answers([names[0], names[1], names[3]])
            letters(refused, 1)
    assert all(len(given) == 1 for given in predictions.served().values())
    assert len(refused.messages) == 1


def test_a_time_to_be_asked_at_is_refused_outside_a_replay(shop: Shop) -> None:
    ask(shop, "good", as_of_ms=1_000)
    with (
        answering(shop.settings),
        reading(shop.settings, topics.refused(topics.REQUESTS)) as refused,
    ):
        ((_, head),) = letters(refused, 1)
    assert head[REASON_HEADER] == b"as_of_ms"


def test_a_record_as_large_as_the_broker_takes_fits_into_the_dead_letters(shop: Shop) -> None:
    to = shop.settings, topics.REQUESTS
    full = write_largest(*to, b"v", b"full")
    inflated = b"inflated" + bytes(10_000_000)
    write_compressed(*to, b"v", inflated, b"kept")
    write_compressed(*to, b"v", b"headers", bytes(5_000_000))
    write_compressed(*to, b"k" * 3_000_000, b"key")
    (name,) = ask(shop, "good")
    with (
        answering(shop.settings),
        answers_of(shop.settings) as predictions,
        reading(shop.settings, topics.refused(topics.REQUESTS)) as refused,
    ):
        predictions.answers([name])
        found = {(m.value() or b"")[:3]: (m, head) for m, head in letters(refused, 4)}
    assert {kind: head[CUT_HEADER] for kind, (_, head) in found.items()} == {
        b"ful": f"key=1 value={len(full)} headers=0".encode(),
        b"inf": f"key=1 value={len(inflated)} headers=17".encode(),
        b"hea": b"key=1 value=7 headers=5000013",
        b"key": b"key=3000000 value=3 headers=0",
    }
    for kind, whole in ((b"ful", full), (b"inf", inflated)):
        value = found[kind][0].value() or b""
        assert len(value) > 1_000_000
        assert whole.startswith(value)
        assert found[kind][1][ORIGIN_HEADER].startswith(topic_name(*to).encode() + b"[")
    assert found[b"inf"][1]["own"] == b"kept"
    assert len(found[b"key"][0].key() or b"") == 100_000
