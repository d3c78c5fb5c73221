"""A state on disk: kills between any two steps, other clusters, torn stores, outdated histories."""

import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.array_packing import pack, unpack
from core.candidates import Ask, gather
from core.popularity import DAY_MS
from core.settings import Settings
from core.shop_people import Person, meet
from core.shop_state import ShopState
from schemas.errors import Unavailable
from schemas.events import EventWatermark
from schemas.items import Item
from serving.checkpoint import Checkpoints, Place
from serving.past import put_item
from serving.saving import LEAST_FREE_BYTES, Saving
from serving.state_store import StateStore

_NOW = 60 * DAY_MS
_MARK = EventWatermark(event_time_ms=5, barrier=2, run_id="run", final=False)
_Event = tuple[str, str | None, str, list[str], int]
_EVENTS = st.tuples(
    st.sampled_from("abcdef"),
    st.sampled_from([None, None, "ann", "bob"]),
    st.sampled_from(["purchase", "view_item", "refused", "said"]),
    st.lists(st.sampled_from([f"i{n}" for n in range(9)]), min_size=1, max_size=3),
    st.integers(0, _NOW),
)
_STEPS = st.lists(
    st.one_of(
        _EVENTS,
        _EVENTS,
        st.sampled_from(["begin", "step", "step", "begin", "step", "spill", "kill"]),
    ),
    max_size=60,
)


@contextmanager
def _kept(folder: Path, **fields: int) -> Iterator[Checkpoints]:
    """As a process would hold it; left without a last checkpoint, as by a kill."""
    store = StateStore(folder)
    try:
        yield Checkpoints(store, Settings(**fields), max_cooccurrence_items=4)
    finally:
        store.close()


def _told(state: ShopState, event: _Event) -> None:
    visitor, user, kind, items, at_ms = event
    known = meet(state, Person(visitor, user, personal=kind != "refused"))
    if kind == "said":
        name = items[0]
        put_item(state, Item(item_id=name, updated_at_ms=at_ms, title=visitor, price=2.5))
    state.apply(visitor, kind, items if known else [], at_ms)


def _save(kept: Checkpoints, place: Place) -> None:
    kept.begin(place)
    _finish(kept)


def _finish(kept: Checkpoints) -> None:
    while kept.under_way:
        _step(kept)


def _step(kept: Checkpoints) -> None:
    kept.pack()
    kept.write()
    kept.end()


def _in_order(state: ShopState) -> bytes:
    """Everything in it, however it is kept."""
    parts = unpack(state.to_bytes())
    for name in ("visitors", "owners", "buckets"):
        parts[name] = sorted(parts[name].items())
    return pack(parts)


def _same(ours: ShopState, plain: ShopState) -> None:
    assert {n: v.to_dict()["recent"] for n, v in ours.visitors.items()} == {
        n: v.to_dict()["recent"] for n, v in plain.visitors.items()
    }
    assert len(ours.visitors) == len(plain.visitors)
    assert dict(ours.owners) == dict(plain.owners)
    size = plain.cooccurrence.size
    assert ours.cooccurrence.size == size
    assert np.array_equal(
        ours.cooccurrence.gram[:size, :size], plain.cooccurrence.gram[:size, :size]
    )
    assert _in_order(ours) == _in_order(plain)
    for visitor in "abc":
        mine, theirs = (gather(s, Ask(visitor, "home", _NOW), None) for s in (ours, plain))
        assert mine.item_ids == theirs.item_ids
        assert np.array_equal(mine.features, theirs.features)


@given(_STEPS)
@settings(max_examples=12)
def test_after_a_kill_the_state_is_that_of_the_last_checkpoint_and_goes_on_from_there(
    steps: list[_Event | str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told: list[_Event] = []
        valid = begun = 0
        lives = _lives(Path(folder))
        kept = next(lives)
        for step in [*steps, "kill"]:
            if not isinstance(step, str):
                told.append(step)
                _told(kept.state, step)
            elif step == "begin" and told and not kept.under_way:
                begun = len(told)
                kept.begin(Place({("events.valid", 1): begun}, _MARK))
            elif step == "step" and kept.under_way:
                _step(kept)
                valid = valid if kept.under_way else begun
            elif step == "spill" and not kept.under_way:
                kept.spill()
                valid = 0
            elif step == "kill":
                kept = next(lives)
                told = told[:valid]
                _goes_on(kept, told)
        lives.close()


def _goes_on(kept: Checkpoints, told: list[_Event]) -> None:
    """What is loaded is the state that took in these events, and no event more."""
    place = kept.load("cluster")
    assert place == (Place({("events.valid", 1): len(told)}, _MARK) if told else None)
    plain = ShopState(max_cooccurrence_items=4)
    for event in told:
        _told(plain, event)
    _same(kept.state, plain)


def _lives(folder: Path) -> Iterator[Checkpoints]:
    """One process after the other on one folder."""
    while True:
        with _kept(folder) as kept:
            kept.load("cluster")
            yield kept


def test_one_of_another_cluster_or_without_a_part_is_left_aside(tmp_path: Path) -> None:
    place = Place({("items", 0): 7}, None)
    with _kept(tmp_path) as kept:
        assert kept.load("cluster") is None
        kept.state.apply("ann", "purchase", ["mug"], 1)
        _save(kept, place)
    with _kept(tmp_path) as kept:
        assert kept.load("cluster") == place
        assert kept.state.history("ann") == ["mug"]
        store = kept._store
        store.write([(b"part/recent", None)])
        assert kept.load("cluster") is None
        assert kept.state.history("ann") == []
        _save(kept, place)
    with _kept(tmp_path) as kept:
        assert kept.load("another") is None


def test_a_store_that_cannot_be_read_is_begun_anew_but_not_one_in_use(tmp_path: Path) -> None:
    with _kept(tmp_path / "one") as kept:
        with pytest.raises(Unavailable, match="lock"):
            StateStore(tmp_path / "one")
        kept.load("cluster")
        _save(kept, Place({}, None))
    (tmp_path / "one" / "CURRENT").write_text("torn")
    with _kept(tmp_path / "one") as kept:
        assert kept.load("cluster") is None


def test_memory_asks_for_a_checkpoint_and_what_is_clean_leaves_it(tmp_path: Path) -> None:
    with _kept(tmp_path, state_memory_mb=1) as kept:
        kept.load("cluster")
        for number in range(400):
            kept.state.apply(f"v{number}", "purchase", [f"i{number % 9}"], number * DAY_MS // 99)
        assert kept.is_full
        _save(kept, Place({}, None))
        assert not kept.is_full
        assert kept.held_shoppers < 400
        assert all(kept.state.knows(f"v{number}") for number in range(400))
        assert len(kept.state.visitors) == 400


def test_on_a_full_disk_no_checkpoint_is_begun_and_the_last_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with _kept(tmp_path) as kept:
        kept.load("here")
        places = [Place({("events.valid", 0): 1}, None), Place({("events.valid", 0): 2}, None)]
        saving = Saving(kept, threading.Lock(), lambda: places[0])
        _told(kept.state, ("a", None, "purchase", ["i1"], 5))
        saving.save(kept.state)
        _told(kept.state, ("a", None, "purchase", ["i2"], 6))
        with monkeypatch.context() as patch:
            full = SimpleNamespace(free=LEAST_FREE_BYTES - 1)
            patch.setattr(shutil, "disk_usage", lambda path: full)
            del places[0]
            saving.save(kept.state)
            assert not saving.under_way
        assert "is full" in caplog.text
    with _kept(tmp_path) as kept:
        place = kept.load("here")
        assert place is not None
        assert place.offsets == {("events.valid", 0): 1}
        assert kept.state.history("a") == ["i1"]
        saving = Saving(kept, threading.Lock(), lambda: places[0])
        saving.save(kept.state)
    with _kept(tmp_path) as kept:
        assert kept.load("here") == places[0]


def test_outdated_histories_leave_the_disk(tmp_path: Path) -> None:
    with _kept(tmp_path, history_days=30) as kept:
        kept.load("cluster")
        state = kept.state
        state.apply("ann", "purchase", ["mug"], DAY_MS)
        state.apply("bob", "purchase", ["mug"], 10 * DAY_MS)
        _save(kept, Place({}, None))
        state.apply("cy", "purchase", ["mug"], 35 * DAY_MS)
        assert kept.outdated.find(state) == ["ann"]
        kept.outdated.remove(state, ["ann", "bob"])
        _save(kept, Place({}, None))
        assert sorted(state.visitors) == ["bob", "cy"]
        assert kept.outdated.find(state) == []


def test_nobody_else_reads_what_is_kept_of_shoppers_also_after_it_is_begun_anew(
    tmp_path: Path,
) -> None:
    (tmp_path / "one").mkdir(mode=0o755)
    store = StateStore(tmp_path / "one")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o700
    store.clear()
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o700
    store.close()
