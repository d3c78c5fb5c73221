"""Derived ids are the standard's UUIDv5."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from schemas import ids


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=3))
def test_a_derived_id_is_a_uuid5_of_its_parts(parts: list[str]) -> None:
    assert ids.derived_id(*parts) == str(uuid.uuid5(ids._NAMESPACE, "\x1f".join(parts)))
