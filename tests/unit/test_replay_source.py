"""Histories from files: order, kinds of file, and lines that are no events."""

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.replay_plan import Broken, Happened, Offered
from local.replay_source import (
    read_events,
    read_items,
    span,
    with_items,
    write_json_lines,
)
from schemas.errors import BadSettings


def event(number, at_ms, name="view_item", **more):
    return {
        "event_name": name,
        "event_id": f"e{number:04}",
        "event_time_ms": at_ms,
        "visitor_id": "v",
        "items": [{"item_id": "i"}],
        **more,
    }


def write(path, lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def ids(entries):
    return [entry.event.event_id for entry in entries if isinstance(entry, Happened)]


def test_events_come_by_time_and_id_however_the_file_is_ordered(tmp_path):
    rows = [event(3, 20), event(2, 20), event(1, 30), event(4, 10)]
    path = write(tmp_path / "events.jsonl", map(json.dumps, rows))
    assert ids(read_events(path)) == ["e0004", "e0002", "e0003", "e0001"]


@given(st.lists(st.integers(min_value=0, max_value=50), max_size=40), st.integers(1, 7))
def test_sorting_from_disk_gives_the_order_of_sorting_in_memory(tmp_path_factory, times, run):
    rows = [event(number, at_ms) for number, at_ms in enumerate(times)]
    path = write(tmp_path_factory.mktemp("s") / "events.jsonl", map(json.dumps, rows))
    assert ids(read_events(path, run_lines=run)) == ids(read_events(path))


def test_a_line_that_is_no_event_keeps_its_place_and_its_bytes(tmp_path):
    bad = json.dumps(event(2, 15, items=[{"item_id": "i", "quantity": -1}]))
    lines = [json.dumps(event(1, 10)), "{oops", bad, json.dumps(event(3, 20))]
    found = list(read_events(write(tmp_path / "events.jsonl", lines)))
    assert [type(entry) for entry in found] == [Happened, Broken, Broken, Happened]
    assert found[1].raw == b"{oops"
    assert found[1].at_ms == 10
    assert found[2].key == b"v"


def test_gzip_and_parquet_give_the_same_events(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [event(1, 10, session_id="s"), event(2, 20)]
    plain = write(tmp_path / "events.jsonl", map(json.dumps, rows))
    packed = tmp_path / "events.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "events.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    expected = [entry.event for entry in read_events(plain)]
    assert [entry.event for entry in read_events(packed)] == expected
    assert [entry.event for entry in read_events(table)] == expected


def test_the_span_is_that_of_the_readable_events(tmp_path):
    lines = ["junk", json.dumps(event(1, 30)), json.dumps(event(2, 10))]
    assert span(write(tmp_path / "events.jsonl", lines)) == (10, 30)


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(BadSettings, match=r"expected \.jsonl"):
        list(read_events(write(tmp_path / "events.csv", ["a,b"])))


def test_a_catalogue_line_that_is_no_item_is_named(tmp_path):
    path = write(tmp_path / "items.jsonl", ['{"item_id": "i", "updated_at_ms": 1}', "{}"])
    with pytest.raises(BadSettings, match=r"items.jsonl:2 is no item"):
        read_items(path)


def test_an_item_comes_before_an_event_of_the_same_time(tmp_path):
    events = write(tmp_path / "events.jsonl", [json.dumps(event(1, 5))])
    items = write(tmp_path / "items.jsonl", ['{"item_id": "i", "updated_at_ms": 5}'])
    found = list(with_items(read_events(events), read_items(items)))
    assert [type(entry) for entry in found] == [Offered, Happened]


def test_what_is_written_reads_back_the_same(tmp_path):
    lines = [json.dumps(event(1, 10)), "{oops"]
    entries = list(read_events(write(tmp_path / "events.jsonl", lines)))
    again, items = tmp_path / "again.jsonl", tmp_path / "items.jsonl"
    assert write_json_lines(entries, again, items) == {}
    assert list(read_events(again)) == entries
