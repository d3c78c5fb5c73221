"""What shoppers do and ask for, whichever way it comes in, leaves no trace in a process's log."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from serving_factory import Shop, progress_of, reading, running, wall_ms

from core.settings import Settings
from schemas import topics

MARK = "mk7q"


def test_no_id_and_no_text_of_a_shopper_is_in_the_log(
    kafka_address: str, unique_prefix: str, tmp_path: Path
) -> None:
    shop = Shop(Settings(kafka=kafka_address, topic_prefix=unique_prefix, home=str(tmp_path)))
    shop.stock()
    shop.point(shop.version(1))
    visitor, mine = f"visitor-{MARK}", progress_of("serving-1")
    with (
        running(shop.settings, extra={"SHOPLOOP_LOG_LEVEL": "DEBUG"}) as replica,
        reading(shop.settings, topics.PROGRESS) as progress,
    ):
        _knock(replica.url, visitor)
        shop.ask(visitor, request_id=f"request-{MARK}", session_id=f"session-{MARK}")
        shop.ask(visitor, task=f"task-{MARK}")
        shop.write(topics.REQUESTS, visitor, f'{{"kind": "{MARK}", "k": "{MARK}"}}'.encode())
        shop.write(topics.EVENTS_VALID, visitor, f'{{"event_name": "{MARK}"}}'.encode())
        shop.write(topics.ITEMS, f"item-{MARK}", f'{{"item_id": "item-{MARK}"}}'.encode())
        shop.write(topics.WEIGHTS, "k", b'{"task": 1, "x": "' + MARK.encode())
        shop.flush()
        shop.buy(visitor, f"item-{MARK}", at_ms=wall_ms())
        shop.flush()
        shop.weigh("w-last", 0.5)
        progress.until(lambda r: any("recommend/home" in each.weights for each in mine(r)))
        assert replica.stop() == 0
    lines = [json.loads(line) for line in replica.log.read_text().splitlines()]
    said = [line["message"] for line in lines]
    assert any("passed over events.valid" in message for message in said)
    assert MARK not in replica.log.read_text()
    assert {"time", "level", "process", "logger", "message"} <= set(lines[0])


def _knock(url: str, visitor: str) -> None:
    """Good and bad requests over every route that is there; none of them may be a bug."""
    text, body = f"query {MARK}", {"visitor_id": visitor, "k": 3, "session_id": f"s-{MARK}"}
    routes: dict[str, list[object]] = {
        "/v1/recommend": [
            body | {"exclude_item_ids": [f"item-{MARK}"], "candidate_item_ids": [f"i-{MARK}", "a"]},
            body | {"k": MARK},
            body | {"surface": MARK},
        ],
        "/v1/similar": [{"visitor_id": visitor, "item_id": f"item-{MARK}"}],
        "/v1/search": [{"visitor_id": visitor, "query": text}],
        f"/v1/classify/{MARK}": [{"visitor_id": visitor, "text": text}],
        "/v1/events": [[{"event_name": MARK, "visitor_id": visitor}], {"event_id": MARK}],
        "/v1/feedback": [{"visitor_id": visitor, "text": text}],
        f"/v1/explain/{MARK}": [{}],
    }
    for route, bodies in routes.items():
        for each in bodies:
            headers = {"traceparent": MARK, "X-Request-Id": MARK, "Idempotency-Key": MARK}
            reply = httpx.post(url + route, json=each, headers=headers)
            assert reply.status_code not in (500, 502), reply.text
        httpx.post(url + route, content=f'{{"visitor_id": "{MARK}'.encode())
        httpx.get(f"{url}{route}?q={MARK}", headers={"Authorization": f"Bearer {MARK}"})
