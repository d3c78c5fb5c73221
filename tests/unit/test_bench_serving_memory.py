"""The bench's histories, computed in bulk, are those that events leave."""

from contextlib import closing
from pathlib import Path

from bench.serving_memory import differing, fill, stock
from core.settings import Settings
from serving.checkpoint import Checkpoints
from serving.state_store import StateStore


def test_bulk_histories_are_stored_as_applied_ones(tmp_path: Path) -> None:
    with closing(StateStore(tmp_path)) as store:
        kept = Checkpoints(store, Settings(state_memory_mb=1))
        kept.load("bench")
        stock(kept.state)
        fill(kept, 1_200)
        assert len(kept.state.visitors) == 1_200
        assert kept.held_shoppers < 1_200
        assert differing(kept, 40) == 0
        kept.state.apply("shopper-00000003", "view_item", ["item-000001"], 1)
        assert differing(kept, 40) == 1
