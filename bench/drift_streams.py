"""Streams with known drifts, by their published definitions, for `python -m bench drift`.

SINE1, MIXED and CIRCLES are those of Gama et al. 2004 ("Learning with drift detection", section 4)
in the form of Pesaranghader and Viktor 2016 (FHDDM, section 5): 100,000 instances, both classes
equally likely in every concept, one label in ten flipped, and around each drift a transition in
which an instance is of the new concept with a sigmoid's probability. Agrawal is river's.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from river.datasets.synth import Agrawal

LENGTH = 100_000
NOISE = 0.1
AGRAWAL_FUNCTIONS = (0, 2, 4, 6)
_CIRCLES = ((0.2, 0.5, 0.15), (0.4, 0.5, 0.2), (0.6, 0.5, 0.25), (0.8, 0.5, 0.3))

Rows = NDArray[np.float64]
Features = dict[str, float]
Concept = Callable[[Rows], NDArray[np.bool_]]


@dataclass(frozen=True)
class Stream:
    """Instances with their labels, and where the drifts are: the middles of the transitions.

    An alarm counts as a drift's detection from one `width` before it to `within` after it.
    """

    features: list[Features]
    labels: list[bool]
    drifts: tuple[int, ...]
    width: int
    within: int


def sine1(seed: int) -> Stream:
    """Below y = sin(x) or not, reversed every 20,000; transitions of 50."""

    def below(rows: Rows) -> NDArray[np.bool_]:
        return np.asarray(rows[:, 1] < np.sin(rows[:, 0]))

    return _generated(_both_ways(below), "xy", 50, seed)


def mixed(seed: int) -> Stream:
    """Two of three: v, w, y < 0.5 + 0.3 sin(3πx); reversed every 20,000; transitions of 50."""

    def two_of_three(rows: Rows) -> NDArray[np.bool_]:
        v, w = rows[:, 2] > 0, rows[:, 3] > 0
        under = rows[:, 1] < 0.5 + 0.3 * np.sin(3 * np.pi * rows[:, 0])
        return np.asarray(v.astype(int) + w + under >= 2)

    return _generated(_both_ways(two_of_three), "xyvw", 50, seed)


def circles(seed: int) -> Stream:
    """Outside one of four circles, the next every 25,000; transitions of 500."""

    def outside(circle: tuple[float, float, float]) -> Concept:
        x, y, radius = circle
        return lambda rows: np.asarray(np.hypot(rows[:, 0] - x, rows[:, 1] - y) > radius)

    return _generated([outside(circle) for circle in _CIRCLES], "xy", 500, seed)


def agrawal(seed: int) -> Stream:
    """Functions 0, 2, 4 and 6 of Agrawal's generator, 25,000 instances each, abrupt."""
    each = LENGTH // len(AGRAWAL_FUNCTIONS)
    features: list[Features] = []
    labels: list[bool] = []
    for number, function in enumerate(AGRAWAL_FUNCTIONS):
        source = Agrawal(  # type: ignore[no-untyped-call]
            classification_function=function, seed=1_000 * seed + number
        )
        for x, label in itertools.islice(source, each):
            features.append(x)
            labels.append(bool(label))
    return Stream(features, labels, tuple(range(each, LENGTH, each)), 0, 1_000)


def _both_ways(concept: Concept) -> list[Concept]:
    """A concept and its reverse, in turns, over five stretches."""
    return [concept, lambda rows: ~concept(rows)] * 2 + [concept]


def _generated(concepts: list[Concept], names: str, width: int, seed: int) -> Stream:
    random = np.random.default_rng(seed)
    stretch = LENGTH // len(concepts)
    where = _concept_of_each(len(concepts), stretch, width, random)
    labels = random.random(LENGTH) < 0.5
    rows = np.empty((LENGTH, 4))
    for number, concept in enumerate(concepts):
        for label in (False, True):
            chosen = np.flatnonzero((where == number) & (labels == label))
            rows[chosen] = _rows_of(concept, label, len(chosen), random)
    flipped = random.choice(LENGTH, round(LENGTH * NOISE), replace=False)
    labels[flipped] = ~labels[flipped]
    return Stream(
        features=[dict(zip(names, row, strict=True)) for row in rows[:, : len(names)].tolist()],
        labels=labels.tolist(),
        drifts=tuple(range(stretch, LENGTH, stretch)),
        width=width,
        within=max(250, 2 * width),
    )


def _concept_of_each(
    concepts: int, stretch: int, width: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Which concept each instance is of: the next with probability 1 / (1 + e^(−4 (t − t0) / W)).

    Source: Bifet et al. 2009 ("New ensemble methods for evolving data streams"), definition 1.
    """
    at = np.arange(concepts * stretch)
    where = np.zeros(len(at), np.int64)
    for drift in range(stretch, len(at), stretch):
        exponent = np.clip(-4 * (at - drift) / width, -700, 700)
        where += random.random(len(at)) < 1 / (1 + np.exp(exponent))
    return where


def _rows_of(concept: Concept, label: bool, n: int, random: np.random.Generator) -> Rows:
    """n points with this label, by rejection, shape (n, 4): x, y uniform, v, w zero or one."""
    found = np.empty((0, 4))
    while len(found) < n:
        tried = random.random((2 * n + 100, 4))
        tried[:, 2:] = np.round(tried[:, 2:])
        found = np.concatenate([found, tried[concept(tried) == label]])
    return found[:n]
