"""The tables of a version: nearest items by co-occurrence, computed many at once."""

import numpy as np
from shop_factory import catalogue, orders

from core.shop_state import ShopState
from trainer.recommend.export import NEIGHBOURS, _neighbours


def test_nearest_items_are_those_that_the_live_state_scores_highest() -> None:
    state = ShopState(max_cooccurrence_items=100)
    for row in catalogue():
        state.put_item(row.item_id, row.title, row.price, row.at_ms)
    for order in orders():
        state.apply(order.visitor_id, order.kind, order.item_ids, order.at_ms)
    names = list(state.catalogue.item_ids)
    found = _neighbours(state, [*names, "never seen"])
    assert list(found) == names
    for row, name in enumerate(names):
        scores = state.cooccurrence_scores(np.array([row]), np.ones(1, np.float32))
        scores[row] = 0.0
        expected = [round(float(s), 5) for s in np.sort(scores[scores > 0])[::-1][:NEIGHBOURS]]
        assert np.allclose([cosine for _, cosine in found[name]], expected, atol=2e-5)
        for other, cosine in found[name]:
            assert abs(scores[state.catalogue.row_of[other]] - cosine) < 2e-5
