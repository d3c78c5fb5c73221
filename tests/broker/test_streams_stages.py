"""The stream worker on a real broker: outcomes, barriers, dead letters, repeats."""

from pathlib import Path

import pytest
from large_records import write_compressed, write_largest
from streams_factory import HOUR_MS, START_MS, Shop, Worker, progress, purchase, visit

from core.settings import Settings
from schemas import topics
from schemas.codec import CUT_HEADER, MESSAGE_HEADER, ORIGIN_HEADER, REASON_HEADER, encode

READ = (
    topics.OUTCOMES,
    topics.EVENTS_VALID,
    topics.SLOTS,
    topics.PROGRESS,
    topics.refused(topics.EVENTS),
    topics.refused(topics.PREDICTIONS),
)
END_MS = START_MS + 100 * HOUR_MS
BAD = (
    b"{",
    b'{"event_name": "purchase", "event_id": "e", "event_time_ms": 1, "visitor_id": "v"}',
    b'{"event_name": "feedback", "event_id": "e", "event_time_ms": 1, "visitor_id": "v", '
    b'"verdict": 1}',
    b"\xff\xfe not text",
)


@pytest.fixture
def settings(kafka_address: str, unique_prefix: str, tmp_path: Path) -> Settings:
    return Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path))


def test_an_answer_and_what_followed_become_an_outcome(settings: Settings) -> None:
    shop = Shop(settings, READ)
    with Worker(settings) as worker:
        shop.barrier(0, START_MS - 1)
        visit(shop, 1, "v", START_MS)
        repeated = purchase("e1", "v", START_MS + 1_000, None)
        shop.send(topics.EVENTS, "v", encode(repeated))
        for value in BAD:
            shop.send(topics.EVENTS, "v", value)
        large = _send_large(shop)
        shop.send(topics.PREDICTIONS, "v", BAD[0])
        shop.barrier(1, START_MS + HOUR_MS)
        shop.read_until(shop.passed(START_MS + HOUR_MS))
        shop.barrier(2, END_MS, final=True)
        shop.read_until(shop.passed(END_MS))
        assert worker.stop() == 0
    shop.close()
    _check_outcomes(shop)
    _check_dead_letters(shop)
    _check_cut_letters(shop, large)
    _check_barriers(shop)


def _send_large(shop: Shop) -> list[bytes]:
    """Events that fill a record, that are more than one, and that have more than one in headers."""
    shop.flush()
    to = shop.settings, topics.EVENTS
    full = write_largest(*to, b"v", b"full")
    inflated = b"inflated" + bytes(10_000_000)
    write_compressed(*to, b"v", inflated)
    good = encode(purchase("e2", "v", START_MS + 2_000, None))
    write_compressed(*to, b"v", good, bytes(5_000_000))
    return [full, inflated, good]


def _check_outcomes(shop: Shop) -> None:
    stated = sorted((each.prediction_id, each.age) for each in shop.outcomes())
    assert stated == [
        ("p1-loop", "1h"),
        ("p1-loop", "5m"),
        ("p1-loop", "final"),
        ("p1-popular_7d", "final"),
    ]
    last = next(o for o in shop.outcomes() if (o.policy, o.age) == ("loop", "final"))
    assert (last.basket, last.slots[0].attributed, last.slots[0].revenue) == (
        ["a", "x"],
        "token",
        2.0,
    )


def _check_dead_letters(shop: Shop) -> None:
    refused = shop.messages["events.dlq"][: len(BAD)]
    assert [message.value() for message in refused] == list(BAD)
    headers = [dict(message.headers() or []) for message in refused]
    assert [each[REASON_HEADER] for each in headers] == [
        b"malformed",
        b"missing_transaction_id",
        b"missing_prediction_id",
        b"malformed",
    ]
    assert all(each[MESSAGE_HEADER] and b".events.v1[" in each[ORIGIN_HEADER] for each in headers)
    assert [message.value() for message in shop.messages["predictions.dlq"]] == [BAD[0]]


def _check_cut_letters(shop: Shop, large: list[bytes]) -> None:
    letters = shop.messages["events.dlq"][len(BAD) :]
    full, inflated, good = (letter.value() or b"" for letter in letters)
    assert good == large[2]
    for kept, whole in ((full, large[0]), (inflated, large[1])):
        assert len(kept) > 1_000_000
        assert whole.startswith(kept)
    for letter, whole, own in zip(letters, large, (0, 0, 5_000_013), strict=True):
        head = dict(letter.headers() or [])
        assert head[REASON_HEADER] == b"too_large"
        assert head[CUT_HEADER] == f"key=1 value={len(whole)} headers={own}".encode()
        assert b".events.v1[" in head[ORIGIN_HEADER]


def _check_barriers(shop: Shop) -> None:
    marks = {
        name: [m for m in shop.messages[name] if b'"watermark"' in (m.value() or b"")]
        for name in ("events.valid", "slots")
    }
    assert len(marks["events.valid"]) == 3 * topics.EVENTS_VALID.partitions
    assert {m.partition() for m in marks["slots"]} == set(range(topics.SLOTS.partitions))
    valid = [m for m in shop.messages["events.valid"] if m not in marks["events.valid"]]
    assert len(valid) == 1  # the repeat was dropped
    said = [progress(message) for message in shop.messages["progress"]]
    ends = {each.process for each in said if each.watermark_ms == END_MS}
    assert ends == {"streams.visitors", "streams.tasks"}


def test_the_same_inputs_give_the_same_outcomes_again(
    settings: Settings, unique_prefix: str, tmp_path: Path
) -> None:
    runs = []
    for number in (1, 2):
        prefix, home = f"{unique_prefix}{number}.", str(tmp_path / str(number))
        shop = Shop(Settings(kafka=settings.kafka, topic_prefix=prefix, home=home), READ)
        with Worker(shop.settings) as worker:
            for visitor in range(8):
                visit(shop, visitor, f"v{visitor}", START_MS + visitor)
            shop.barrier(1, START_MS + HOUR_MS)
            if number == 2:
                shop.read_until(shop.passed(START_MS + HOUR_MS))
            shop.barrier(2, END_MS, final=True)
            shop.read_until(shop.passed(END_MS))
            assert worker.stop() == 0
        shop.close()
        runs.append({(m.partition(), m.value()) for m in shop.messages["outcomes"]})
    assert runs[0] == runs[1]
    assert len(runs[0]) == 8 * 4
