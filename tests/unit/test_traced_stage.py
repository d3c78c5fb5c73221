"""The traces of answers that wait to be judged outlive a restart; only sampled ones are kept."""

from __future__ import annotations

from pathlib import Path

import msgspec
from join_factory import HOUR_MS, START_MS, answer, click
from stage_factory import written_down
from test_streams_again import ANSWERS, EVENTS, Input

from adapters.tracing import Tracing
from core.settings import Settings
from core.trace_context import TRACEPARENT, traceparent_of
from schemas import topics
from schemas.codec import Headers, cloud_headers, encode
from streams.store import Changes, Store
from streams.traced import TracedStage
from streams.visitors import VisitorStage

NOWHERE = Settings(otlp="http://127.0.0.1:9", trace_ratio=0.0)
QUICK = Settings(click_window_ms=60_000, purchase_window_ms=60_000, label_ages="")
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Headed(Input):
    """An input with headers."""

    told: Headers

    def headers(self) -> Headers:
        return self.told


def shown(offset: int, name: str, flags: str) -> Headed:
    record = Headed(ANSWERS, 0, offset, encode(answer(name, START_MS)))
    context = f"00-{TRACE}-b7ad6b7169203331-{flags}".encode()
    record.told = [*cloud_headers("prediction", name, "s"), (TRACEPARENT, context)]
    return record


def traces_of(made: Changes) -> dict[tuple[str, str], bytes | None]:
    found = {}
    for out in made.outs:
        if "outcomes" in out.topic:
            outcome = msgspec.json.decode(out.value or b"")
            found[outcome["prediction_id"], outcome["age"]] = traceparent_of(out.headers)
    return found


def test_outcomes_carry_the_trace_of_their_answer_also_after_a_restart(tmp_path: Path) -> None:
    store, tracing = Store(tmp_path / "s"), Tracing(NOWHERE, "test", "streams")
    stage = TracedStage(VisitorStage(QUICK), QUICK, tracing)
    stage.load(store, list(range(topics.VISITOR_PARTITIONS)))
    records: list[Input] = [shown(0, "kept", "01"), shown(1, "passed", "00")]
    records += [Input(EVENTS, 0, 0, encode(click("c1", START_MS + 500, "a", "kept")))]
    stage.step(records, START_MS + 1_000, live=True)
    early = traces_of(stage.step([], START_MS + 20_000, live=True))
    written_down(store, stage, {})
    again = TracedStage(VisitorStage(QUICK), QUICK, tracing)
    again.load(store, list(range(topics.VISITOR_PARTITIONS)))
    late = traces_of(again.step([], START_MS + HOUR_MS, live=True))
    for (name, _), carried in (early | late).items():
        assert (carried is not None) == (name == "kept")
        assert carried is None or carried.decode().split("-")[1] == TRACE
    assert {("kept", "final"), ("passed", "final")} <= set(late)
    written_down(store, again, {})
    assert store.get((0, "trace", "kept")) is None
    store.close()
    tracing.close()
