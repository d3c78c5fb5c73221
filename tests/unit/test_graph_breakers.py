"""A graph that keeps failing is left alone, by task and version; never in a replay."""

from __future__ import annotations

from dataclasses import replace

from serving.graph_breakers import TEXTS, Graph, GraphBreakers

ONE = Graph(TEXTS, "desk", "v1")


def test_another_version_or_task_has_a_circuit_of_its_own() -> None:
    breakers = GraphBreakers(clock=lambda: 0)
    for _ in range(3):
        assert breakers.allows(ONE)
        breakers.told(ONE, good=False)
    assert not breakers.allows(ONE)
    assert breakers.allows(replace(ONE, version="v2"))
    assert breakers.allows(replace(ONE, task="tone"))
    assert [each for each in breakers.standing() if each[2]] == [(TEXTS, "open", 1)]
    breakers.told(replace(ONE, version="v2"), good=True)
    assert {state for _, state, _ in breakers.standing()} == {"closed"}


def test_a_replay_opens_nothing() -> None:
    breakers = GraphBreakers(lambda: True, clock=lambda: 0)
    for _ in range(3):
        breakers.told(ONE, good=False)
    assert breakers.allows(ONE)
