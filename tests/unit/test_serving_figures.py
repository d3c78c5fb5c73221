"""Figures of a serving process: names by convention, no ids in labels, nothing lost on the way."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from figures_factory import driven, prediction
from prometheus_client.parser import text_string_to_metric_families
from swaps_factory import following

from core.settings import Settings
from schemas.predictions import RecommendRequest
from serving.checkpoint import Checkpoints
from serving.metrics import MOST_SURFACES, Metrics
from serving.standing import Standing
from serving.state import Live
from serving.state_store import StateStore
from serving.traces import CURRENT, Traces
from serving.web_watch import Watched

UNITS = ("_total", "_seconds", "_bytes", "_info", "_ready")
PLAIN = {"http_in_flight", "batch_size", "kafka_lag", "state_waiting", "shoppers"} | {
    "shoppers_in_memory",
    "items",
    "spool_records",
}


def samples(text: str) -> dict[str, float]:
    return {
        sample.name + str(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_figure_has_help_a_unit_and_no_id(tmp_path: Path) -> None:
    metrics = driven()
    with following(tmp_path) as replica:
        live = Live(
            Settings(), replica.versions, Checkpoints(StateStore(tmp_path / "state"), Settings())
        )
        metrics.collect(Standing(replica.library, live))
        replica.point(replica.make(1))
        replica.point("20110101-0000000000000000")
        text = metrics.text()
    for family in text_string_to_metric_families(text):
        assert family.documentation.endswith("."), family.name
        short = re.sub("^shoploop_(serving_)?", "", family.name)
        named = family.name + ("_total" if family.type == "counter" else "")
        assert named.endswith(UNITS) or short in PLAIN, family.name
    assert "marked" not in text
    found = samples(text)
    assert found["shoploop_serving_swaps_total[]"] == 1
    assert found["shoploop_serving_versions_refused_total[('reason', 'missing_file')]"] == 1
    assert found["shoploop_serving_versions_bytes[('role', 'champion')]"] > 0
    assert found["shoploop_serving_spool_bytes[]"] == 12


def test_answers_are_counted_by_what_they_are() -> None:
    found = samples(driven().text())
    label = "('arm', 'champion'), ('degraded', '{}'), ('surface', 'home'), ('transport', 'http')"
    assert found[f"shoploop_serving_answers_total[{label.format('')}]"] == 1
    assert found[f"shoploop_serving_answers_total[{label.format('no_model')}]"] == 1
    assert found["shoploop_serving_latency_seconds_count[('transport', 'http')]"] == 2


def test_surfaces_that_callers_make_up_do_not_become_figures_without_end() -> None:
    metrics = Metrics()
    for number in range(1_000):
        metrics.answered("http", [prediction(surface=f"made_up_{number}")], 0.003)
    found = [name for name in samples(metrics.text()) if "answers_total" in name]
    assert len(found) == MOST_SURFACES + 1


@pytest.mark.parametrize("fails", [False, True])
def test_a_route_is_counted_by_its_template_and_a_failure_too(fails: bool) -> None:
    metrics = Metrics()

    async def application(scope: Any, _receive: Any, send: Any) -> None:
        scope["path_template"] = "/v1/explain/{prediction_id}"
        assert metrics.in_flight._value.get() == 1
        if fails:
            raise RuntimeError("a bug")
        await send({"type": "http.response.start", "status": 200})

    async def nothing(_message: Any = None) -> None:
        return None

    scope = {"type": "http", "path": "/v1/explain/p-marked", "headers": []}
    watched = Watched(application, metrics, Traces())
    try:
        asyncio.run(watched(scope, nothing, nothing))
    except RuntimeError:
        assert fails
    route, status = "/v1/explain/{prediction_id}", "500" if fails else "200"
    name = f"shoploop_serving_http_requests_total[('route', '{route}'), ('status', '{status}')]"
    assert samples(metrics.text())[name] == 1
    assert "p-marked" not in metrics.text()
    assert metrics.in_flight._value.get() == 0


def test_a_callers_trace_is_passed_on_and_forgotten_after_the_reply() -> None:
    traces, caller = Traces(), b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    trace = traces.begin("request", "server", caller)
    assert trace is not None
    token = CURRENT.set(trace)
    traces.keep("r1")
    CURRENT.reset(token)
    with traces.part("answer", [RecommendRequest(request_id="r1", visitor_id="v")], 0.0):
        assert traces.header("r1") == [("traceparent", caller)]
    traces.end(trace)
    assert traces.header("r1") == []
    assert traces.begin("request", "server", None) is None
    assert traces.begin("request", "server", b"00-nonsense") is None
