"""The shipped alerting rules speak of figures that processes export, and of sections that exist."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from figures_factory import driven
from prometheus_client.parser import text_string_to_metric_families
from record_samples import RECORDS
from swaps_factory import following

from adapters.health import counters_text
from core.settings import Settings
from local.processes import PRODUCTS, Ports
from schemas import topics
from schemas.errors import Unavailable
from serving.breakers import Breakers
from serving.checkpoint import Checkpoints
from serving.missing import Missing
from serving.replica import watch_certificate
from serving.standing import Standing
from serving.state import Live
from serving.state_store import StateStore
from serving.words import Words
from streams.app import Worker
from streams.notify import Teller
from streams.sink import Sink
from trainer.app import LONGEST_TRAINING_MS, Trainer

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = {
    rule["alert"]: rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
SECTIONS = {
    re.sub(r"[^\w\- ]", "", part.partition("\n")[0].lower()).replace(" ", "-"): part
    for part in (ROOT / "docs" / "runbook.md").read_text().split("\n## ")
}
"""The runbook's text by what its headings are linked by."""
FUNCTIONS = {"absent", "count", "deriv", "histogram_quantile", "increase", "max_over_time"}
FUNCTIONS |= {"rate", "sum", "time"}
WORDS = {"and", "or", "unless", "on", "by", "offset"}
SCRAPED = {"job", "instance"}
_SELECTOR = re.compile(r"([a-z_]+)\{([^}]*)\}")
_MATCHER = re.compile(r"([a-z_]+)(=~|!~|!=|=)\"([^\"]*)\"")
_GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
Exported = dict[str, dict[str, set[str]]]
"""Values by label by metric."""


def serving_text(home: Path) -> str:
    metrics = driven()
    settings = Settings(home=str(home))
    with following(home) as replica:
        checkpoints = Checkpoints(StateStore(home / "state"), settings)
        live = Live(settings, replica.versions, checkpoints)
        metrics.collect(Standing(replica.library, live))
        metrics.collect(Breakers(settings, live))
        context: Any = SimpleNamespace(sni_callback=SimpleNamespace(ends_s=2e9))
        watch_certificate(metrics, context)
        metrics.collect(Missing({"spool": lambda: False}))
        none: Any = SimpleNamespace(graphs=None)
        desk: Any = SimpleNamespace(also=lambda _: None, answer=None, record=None, breakers=none)
        Words(settings, "one", lambda _: None, metrics, desk)
        replica.point(replica.make(1))
        replica.point("20110101-0000000000000000")
        return metrics.text()


def streams_text(home: Path) -> str:
    worker = Worker(Settings(home=str(home), kafka="127.0.0.1:1"), ("visitors", "tasks"))
    try:
        return worker.metrics()
    finally:
        for pump in worker.pumps:
            pump.transport.close()


def others_text(home: Path) -> str:
    store: Any = SimpleNamespace(stored=None, rows_by_table={"events": 12_345_678})
    feed: Any = SimpleNamespace(ready=True, lag=7)
    writer: Any = SimpleNamespace()
    sink = counters_text("shoploop_sink", Sink(feed, store, writer).figures())

    def away(_: object) -> None:
        raise Unavailable("away")

    channel: Any = SimpleNamespace(name="webhook x", tell=away)
    teller = Teller([channel], 0.0, lambda _: False)
    teller.tell(RECORDS[topics.ALERTS][0])
    notify = counters_text("shoploop_notify", dict(teller.counts))
    return sink + notify + Trainer(Settings(home=str(home))).figures()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    home = tmp_path_factory.mktemp("home")
    found: Exported = {"up": defaultdict(set)}
    for text in (serving_text(home), streams_text(home), others_text(home)):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = found.setdefault(sample.name, defaultdict(set))
                for label, value in sample.labels.items():
                    labels[label].add(value)
    return found


def test_every_digit_of_a_large_figure_is_told() -> None:
    text = counters_text("s", {"closed_ms": 1_790_000_000_123.0})
    assert text == "# TYPE s_closed_ms gauge\ns_closed_ms 1790000000123\n"


def test_samples_of_one_name_stand_together_under_its_type() -> None:
    counts = {'rows_total{t="b"}': 1.0, "rows": 2.0, "rows_total_age": 3.0, "rows_total": 4.0}
    families = list(text_string_to_metric_families(counters_text("s", counts)))
    kinds = [(each.name, each.type, len(each.samples)) for each in families]
    assert kinds == [
        ("s_rows", "gauge", 1),
        ("s_rows", "counter", 2),
        ("s_rows_total_age", "gauge", 1),
    ]


@pytest.mark.parametrize("name", list(RULES))
def test_an_alert_speaks_of_figures_and_labels_that_are_exported(
    name: str, exported: Exported
) -> None:
    expr = RULES[name]["expr"]
    bare = re.sub(r'"[^"]*"|\[[^]]*\]|\b\d+[a-z]\b|\boffset\b', " ", _GROUPING.sub(" ", expr))
    used = set(re.findall(r"[a-z_]+", re.sub(r"\{[^}]*\}", " ", bare)))
    metrics = used - FUNCTIONS - WORDS
    assert metrics
    assert metrics <= exported.keys(), metrics - exported.keys()
    for metric, selector in _SELECTOR.findall(expr):
        for label, how, value in _MATCHER.findall(selector):
            assert label in SCRAPED | exported[metric].keys(), (metric, label)
            if label == "job":
                assert any(re.fullmatch(value, job) for job in scraped()), value
            elif how == "=" and (metric, label) != (
                "shoploop_serving_http_requests_total",
                "status",
            ):
                assert value in exported[metric][label], (metric, label, value)
    grouped = {word.strip() for found in _GROUPING.findall(expr) for word in found.split(",")}
    assert grouped <= SCRAPED.union(*(exported[metric].keys() for metric in metrics))


@pytest.mark.parametrize("name", list(RULES))
def test_an_alert_says_how_urgent_it_is_and_where_to_read_on(name: str) -> None:
    rule = RULES[name]
    assert re.fullmatch(r"Shoploop[A-Za-z]+", name)
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"].startswith("docs/runbook.md#")
    section = SECTIONS[rule["annotations"]["runbook"].partition("#")[2]]
    assert f"`{name}`" in section


def test_a_training_that_is_said_to_be_stuck_can_still_be_committed() -> None:
    stuck_s = float(RULES["ShoploopTrainingStuck"]["expr"].rpartition(">")[2])
    assert stuck_s * 1_000 < LONGEST_TRAINING_MS <= 86_400_000  # the most that librdkafka takes


def test_the_runbook_names_no_other_alert_and_no_figure_that_is_not_exported(
    exported: Exported,
) -> None:
    text = "".join(SECTIONS.values())
    assert set(re.findall(r"`(Shoploop[A-Z]\w+)`", text)) == RULES.keys()
    named = set(re.findall(r"`(shoploop_[a-z_]+)", text))
    histograms = {name.removesuffix("_bucket") for name in exported}
    assert named <= exported.keys() | histograms, named


def test_the_example_scrapes_every_process_where_it_answers() -> None:
    ports = Ports()
    expected = defaultdict(list)
    for product in PRODUCTS:
        job = "shoploop-" + re.sub(r"-\d+$", "", product.name)
        expected[job].append(f"127.0.0.1:{product.port(ports)}")
    del expected["shoploop-notify"]  # a comment: it runs where somebody is to be notified
    assert scraped() == expected


def scraped() -> dict[str, list[str]]:
    """Targets by job of the example."""
    example = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    return {
        job["job_name"]: [at for each in job["static_configs"] for at in each["targets"]]
        for job in example["scrape_configs"]
    }
