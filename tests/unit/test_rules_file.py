"""The rules file is read at start, followed, and refused as a whole when it is wrong."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from core.candidates import Ask
from core.exposure import Answer
from core.list_arranger import Pool
from core.rule_book import RuleBook
from core.rules import Rules, parse_rules
from core.settings import Settings, parse
from core.shop_state import ShopState
from schemas.errors import BadSettings
from serving.rules_file import RulesFile

EXAMPLE = Path(__file__).parents[2] / "examples" / "rules.toml"


def _write(path: Path, text: str, at_s: int) -> None:
    path.write_text(text)
    os.utime(path, (at_s, at_s))


def test_the_example_is_read_and_uses_every_kind_of_rule() -> None:
    file = RulesFile(Settings(rules=str(EXAMPLE)))
    rules = parse_rules(EXAMPLE.read_bytes())
    assert all(getattr(rules, kind) for kind in Rules.__struct_fields__)
    assert len(file.book.name) == 16


def test_without_a_file_there_are_no_rules_and_no_name() -> None:
    file = RulesFile(Settings())
    file.look()
    assert file.book.name == ""
    assert file.book.allowed(ShopState(), Ask(visitor_id="v", surface="home", now_ms=0)) is None


@pytest.mark.parametrize("text", [None, "[[blok]]"])
def test_a_missing_or_wrong_file_at_start_names_the_setting(
    tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "rules.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BadSettings) as caught:
        RulesFile(Settings(rules=str(path)))
    assert str(caught.value).startswith(f"SHOPLOOP_RULES={path}: ")


def test_a_changed_file_is_followed_and_a_wrong_one_refused_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, noted = tmp_path / "rules.toml", []
    _write(path, "[[block]]\nitems = ['a']", 1)
    file = RulesFile(Settings(rules=str(path)), noted=noted.append)
    state, ask = ShopState(), Ask(visitor_id="v", surface="home", now_ms=0)
    for item in ("a", "b"):
        state.put_item(item, item, 1.0, 1)
    first = file.book
    file.look()
    assert file.book is first
    _write(path, "[[block]]\nitems = ['b']", 2)
    file.look()
    second = file.book
    assert second.name != first.name
    assert np.array_equal(second.allowed(state, ask), [True, False])
    with caplog.at_level(logging.ERROR):
        _write(path, "[[block]]\nitem = 'b'", 3)
        file.look()
        file.look()
        path.unlink()
        file.look()
    assert file.book is second
    assert noted == ["accepted", "accepted", "refused", "refused"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "unknown field `item` - at `$.block[0]`" in caplog.text


def test_a_limit_of_exposure_that_stays_goes_on_counting() -> None:
    limit = "[[exposure]]\nitems = ['a']\nper_hour = 1\n"
    state, ask = ShopState(), Ask(visitor_id="v", surface="home", now_ms=0)
    state.put_item("a", "a", 1.0, 1)
    state.put_item("b", "b", 1.0, 1)
    pool = Pool(np.arange(2), np.array([1.0, 0.0]), [0, 1], {})
    book = RuleBook(parse_rules(limit), "one")
    book.served(state, ask, ["a"])
    later = book.followed_by(parse_rules(limit + "[[block]]\nitems = ['b']"), "two")
    other = later.followed_by(parse_rules(limit.replace("= 1", "= 2")), "three")
    for each, order in ((later, [1, 0]), (other, [0, 1])):
        now = each._now(state, ask)
        found = each._arranger.arranged(now, state.catalogue, pool, Answer(1, 0), 0.0)
        assert found.order == order


def test_the_exploration_slice_has_bounds() -> None:
    assert parse({"SHOPLOOP_EXPLORE_PER_10000": "0"}).explore_per_10000 == 0
    with pytest.raises(BadSettings) as caught:
        parse({"SHOPLOOP_EXPLORE_PER_10000": "10001"})
    assert "SHOPLOOP_EXPLORE_PER_10000" in str(caught.value)
