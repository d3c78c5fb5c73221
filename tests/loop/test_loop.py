"""The whole loop on a short span, with every real process, and the sink killed twice.

Everything is checked on what the demo left: its report, its tables, its topics, its versions.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from adapters.artefacts import ArtefactStore
from adapters.onnx import LoadedVersion, load_version
from adapters.signing import load_verify_key
from adapters.tables import SUNK
from console.saved import parameters, saved_queries, saved_query
from core.features import FEATURE_NAMES, POSITION, feature_schema_hash
from core.ranking import RankerWeights
from local.replay_report import count_readable
from local.retail_source import ARCHIVE

pytestmark = [pytest.mark.loop, pytest.mark.timeout(600)]

SEQUENCE = FEATURE_NAMES.index("sequence")
SAMPLED = 400
ROUNDED = 5.1e-5  # the saved query rounds to four places
TO = "2011-04-10"
CHECKER = Path(__file__).parents[2] / "examples" / "check_replay.py"


def test_the_demo_ends_well_though_its_sink_was_killed_twice(demo):
    assert demo.kills == 2
    assert demo.status == 0, demo.output


def test_every_line_that_a_process_logs_is_one_record(demo):
    logs = [*demo.runtime.home.glob("logs/serving-*.log"), demo.runtime.home / "logs/streams.log"]
    assert len(logs) > 1
    for log in logs:
        for line in log.read_bytes().splitlines():
            assert msgspec.json.decode(line)["level"]


def test_no_line_of_the_shop_is_lost_or_doubled(demo):
    assert (demo.report["lost"], demo.report["duplicated"]) == (0, 0)
    assert demo.report["exclusions"]["not_a_product"] > 0
    assert sum(demo.report["dead_letters"].values()) > 0


def test_the_checker_from_outside_finds_every_line_once(demo, tmp_path):
    report = tmp_path / "report.json"
    report.write_bytes(msgspec.json.encode(demo.report))
    command = [sys.executable, str(CHECKER), str(ARCHIVE), "--report", str(report)]
    command += ["--clickhouse", demo.runtime.clickhouse_dsn, "--kafka", demo.runtime.kafka_address]
    command += ["--before", TO]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_rows_and_quarantined_records_are_the_readable_ones_of_each_topic(demo):
    readable = count_readable(demo.runtime.settings, SUNK)
    for name, account in demo.report["accounting"].items():
        assert account["rows"] + account["quarantined"] == account["readable"], name
        assert account["readable"] == readable[name], name
        assert account["quarantined"] == 0, name


def test_nobody_was_refused_an_answer_and_no_answer_mixed_versions(demo):
    assert demo.report["http_asked"] > 50
    assert demo.report["http_failed"] == 0
    assert demo.report["mixed_versions"] == 0


def test_every_promoted_version_reached_every_serving_process_within_two_seconds(demo):
    promoted = [row for row in demo.report["retrains"] if row["promoted_event_time"]]
    assert promoted
    for row in promoted:
        swaps = row["announce_to_swap_ms"]
        assert {"serving-1", "serving-2"} <= set(swaps)
        assert max(swaps.values()) <= 2_000


def test_the_figures_are_those_of_the_saved_query(demo):
    sql = saved_query("report_hit_rate")
    columns, rows = demo.clickhouse.query_table(sql, parameters(sql, []))
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    compared = 0
    for surface, policies in demo.report["surfaces"].items():
        for policy, figures in policies.items():
            (row,) = [
                each for each in found if each["surface"] == surface and each["policy"] == policy
            ]
            assert row["n"] == figures["n"]
            assert row["hr10"] == pytest.approx(figures["hr10"], abs=ROUNDED)
            assert row["recall10"] == pytest.approx(figures["recall10"], abs=ROUNDED)
            compared += 1
    assert compared == 15


def test_every_saved_query_answers_on_the_demos_tables_and_the_streamed_figures_are_theirs(demo):
    answered = {
        each.name: demo.clickhouse.query_table(each.sql, parameters(each.sql, []))
        for each in saved_queries()
    }
    columns, rows = answered["metrics_check"]
    checked = [dict(zip(columns, row, strict=True)) for row in rows]
    assert len(checked) > 100
    assert {row["difference"] for row in checked} == {0.0}
    assert all(row["streamed_n"] == row["computed_n"] for row in checked)
    for name in ("rates", "revenue", "sources", "cold_items", "position_bias", "exposure"):
        assert answered[name][1], name


def served(demo):
    rows = demo.clickhouse.query_rows(
        "SELECT model_version, weights_version, surface, context_history, `slots.item_id`, "
        "`slots.score`, `slots.features` FROM predictions "
        "WHERE policy = 'loop' AND arm != 'fallback' ORDER BY cityHash64(prediction_id) "
        f"LIMIT {SAMPLED}"
    )
    assert len(rows) == SAMPLED
    return rows


@pytest.fixture(scope="module")
def versions(demo) -> dict[str, LoadedVersion]:
    settings = demo.runtime.settings
    store = ArtefactStore(settings.artefacts)
    key = load_verify_key(Path(settings.home))
    return {
        name: load_version(store, settings.task, name, key, feature_schema_hash())
        for name in store.versions(settings.task)
    }


def test_what_is_bought_again_is_asked_for_joined_measured_learned_and_shipped(demo, versions):
    asked = dict(
        demo.clickhouse.query_rows(
            "SELECT surface, count() FROM predictions WHERE policy = 'loop' GROUP BY surface"
        )
    )
    assert 0.2 < asked["buy_again"] / asked["home"] < 0.5
    (unbought,) = demo.clickhouse.query_rows(
        """
        SELECT countIf(bought.first_ms = 0 OR bought.first_ms >= asked.served_at_ms)
        FROM (
            SELECT visitor_id, served_at_ms, arrayJoin(slots.item_id) AS item_id
            FROM predictions WHERE policy = 'loop' AND surface = 'buy_again'
        ) AS asked
        LEFT JOIN (
            SELECT visitor_id, arrayJoin(`items.item_id`) AS item_id, min(event_time_ms) AS first_ms
            FROM events WHERE event_name = 'purchase' GROUP BY visitor_id, item_id
        ) AS bought USING (visitor_id, item_id)
        """
    )
    assert unbought[0] == 0
    (joined,) = demo.clickhouse.query_rows(
        "SELECT uniqExact(prediction_id) FROM outcomes "
        "WHERE policy = 'loop' AND surface = 'buy_again' AND age = 'final'"
    )
    assert joined[0] == asked["buy_again"]
    (measured,) = demo.clickhouse.query_rows(
        "SELECT count() FROM metrics WHERE surface = 'buy_again' AND policy = 'loop' "
        "AND name = 'hr10' AND age = 'final' AND closed AND n > 0"
    )
    assert measured[0] > 10
    (learned,) = demo.clickhouse.query_rows(
        "SELECT uniqExact(version), max(lists) FROM weights WHERE surface = 'buy_again'"
    )
    assert learned[0] > 10
    assert learned[1] > 50
    for version in versions.values():
        assert set(version.ranker) == {"home", "discover", "buy_again"}
    names = {name for row in demo.report["retrains"] for name in row["gate"]["checks"]}
    assert {"buy_again_answer_vs_own_items", "buy_again_answer_vs_champion"} <= names


def weights_by_version(demo, versions) -> dict[tuple[str, str], RankerWeights]:
    rows = demo.clickhouse.query_rows(
        "SELECT surface, version, names, coef, bias FROM weights WHERE role = 'live'"
    )
    found = {
        (surface, version): RankerWeights(tuple(names), np.array(coef), bias, version)
        for surface, version, names, coef, bias in rows
    }
    for loaded in versions.values():
        for surface, shipped in loaded.ranker.items():
            found.setdefault((surface, shipped.version), shipped)
    return found


def test_every_served_score_follows_from_the_logged_features_and_the_named_weights(demo, versions):
    by_version = weights_by_version(demo, versions)
    for _, version, surface, _, _, scores, features in served(demo):
        weights = by_version[surface, version]
        assert weights.names == FEATURE_NAMES
        for score, row in zip(scores, features, strict=True):
            if row:
                at_first = np.array(row)
                at_first[POSITION] = 0.0
                assert at_first @ weights.coef + weights.bias == pytest.approx(score, abs=1e-4)


def test_the_sequence_feature_follows_from_the_named_graph_and_the_logged_history(demo, versions):
    rows = served(demo)
    for version in {row[0] for row in rows}:
        loaded = versions[version]
        of_version = [row for row in rows if row[0] == version]
        log_probs = loaded.score([row[3] for row in of_version])
        for (_, _, _, _, items, _, features), scored in zip(of_version, log_probs, strict=True):
            for item_id, row in zip(items, features, strict=True):
                if row and item_id in loaded.words.index:
                    expected = (
                        max(float(scored[loaded.words.index[item_id] + 1]), -14.0) / 4.0 + 2.0
                    )
                    assert row[SEQUENCE] == pytest.approx(expected, abs=2e-3)


def test_an_answer_knows_nothing_that_had_not_happened(demo):
    (late,) = demo.clickhouse.query_rows(
        "SELECT countIf(context_seen_ms >= served_at_ms), count() FROM predictions "
        "WHERE policy = 'loop'"
    )
    assert late[0] == 0
    assert late[1] > 1_000
    (unbought,) = demo.clickhouse.query_rows(
        """
        SELECT count() FROM (
            SELECT visitor_id, served_at_ms, arrayJoin(context_history) AS item_id
            FROM predictions WHERE policy = 'loop'
        ) AS asked
        LEFT JOIN (
            SELECT visitor_id, arrayJoin(`items.item_id`) AS item_id, min(event_time_ms) AS first_ms
            FROM events WHERE event_name = 'purchase' GROUP BY visitor_id, item_id
        ) AS bought USING (visitor_id, item_id)
        WHERE bought.first_ms = 0 OR bought.first_ms >= asked.served_at_ms
        """
    )
    assert unbought[0] == 0


def test_every_purchase_comes_after_the_answer_it_names(demo):
    (wrong,) = demo.clickhouse.query_rows(
        """
        SELECT countIf(answer.served_at_ms = 0 OR answer.served_at_ms >= bought.event_time_ms),
               count()
        FROM (
            SELECT event_time_ms, arrayJoin(`items.prediction_id`) AS prediction_id
            FROM events WHERE event_name = 'purchase'
        ) AS bought
        LEFT JOIN predictions AS answer USING (prediction_id)
        WHERE prediction_id IS NOT NULL
        """
    )
    assert wrong[0] == 0
    assert wrong[1] > 500


def test_the_report_says_all_that_it_promises(demo):
    promised = "seconds span events predictions outcomes lost duplicated dead_letters retrains"
    promised += " surfaces comparisons weekly exclusions http_failed mixed_versions accounting"
    assert set(promised.split()) <= set(demo.report)
    assert msgspec.json.encode(demo.report)
    assert demo.report["surfaces"]["home"]["loop"]["n"] > 1_000
