"""A version's id follows from what it is, never from how fast the machine was."""

from __future__ import annotations

from version_factory import Version, changed

from schemas.models import Manifest, Variant


def timed(manifest: Manifest, latency_ms: float, size_bytes: int = 10) -> str:
    variant = Variant(name="int8", latency_ms=latency_ms, size_bytes=size_bytes)
    return changed(manifest, variants=[variant]).version


def test_the_wall_time_of_a_variant_does_not_change_the_id() -> None:
    manifest = Version().manifest()
    assert timed(manifest, 1.0) == timed(manifest, 2.0)


def test_the_size_of_a_variant_does() -> None:
    manifest = Version().manifest()
    assert timed(manifest, 1.0) != timed(manifest, 1.0, size_bytes=11)
