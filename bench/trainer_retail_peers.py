"""Recommender libraries on the retail requests: same history, same requests, refit every week.

They run in an environment of their own (see `bench/streams_peers.py`); purchases go there and
answers come back as files. Between refits a peer scores the visitor's history as it is when asked.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.floor_data import WEEK_MS, Session
from bench.floor_loop import Judged
from bench.streams_peers import environment

ENVIRONMENT = "recommenders"
WITHIN_S = 600


@dataclass
class Asked:
    """What the peers are told: purchases as the shop learns of them, and requests among them."""

    start_ms: int
    visitors: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    bought: list[tuple[int, int]] = field(default_factory=list)
    requests: list[tuple[int, int, int]] = field(default_factory=list)
    wanted: list[tuple[Session, dict[str, set[str]]]] = field(default_factory=list)
    _week: int = -1
    _fitted: int = 0

    def ask(self, session: Session) -> None:
        """Notes a request: it knows what was bought so far, and models of the week's beginning."""
        past = session.past
        visitor = self._visitor(past.visitor_id)
        self.requests.append((visitor, len(self.bought), self._fitted))
        fresh = set(past.item_ids) - self._had[past.visitor_id]
        self.wanted.append((session, {"home": set(past.item_ids), "discover": fresh}))

    def week(self, at_ms: int) -> None:
        """Refits on all purchases so far when a week has begun."""
        week = (at_ms - self.start_ms) // WEEK_MS
        if week != self._week:
            self._week, self._fitted = week, len(self.bought)

    def put(self, session: Session) -> None:
        """Takes in one session."""
        past = session.past
        visitor = self._visitor(past.visitor_id)
        for item in past.item_ids:
            number = self.items.setdefault(item, len(self.items))
            self.bought.append((visitor, number))
        self._had.setdefault(past.visitor_id, set()).update(past.item_ids)

    _had: dict[str, set[str]] = field(default_factory=dict)

    def _visitor(self, name: str) -> int:
        return self.visitors.setdefault(name, len(self.visitors))

    def write(self, folder: Path) -> None:
        """The arrays that `bench/peers/with_recommenders.py` reads."""
        bought, requests = np.array(self.bought), np.array(self.requests)
        np.savez(
            folder / "asked.npz",
            visitor=bought[:, 0],
            item=bought[:, 1],
            asked_visitor=requests[:, 0],
            known=requests[:, 1],
            fitted=requests[:, 2],
        )


def answers(asked: Asked) -> list[Judged]:
    """Every peer's judged answers.

    Raises:
        OSError: there is no uv.
        subprocess.SubprocessError: the environment could not be made, or the peers failed.
    """
    program = environment(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asked.write(folder)
        command = [str(program), "-m", "bench.peers.with_recommenders", str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=WITHIN_S)
        spent: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        print(f"peers, seconds of all refits and answers: {spent}")
        with np.load(folder / "answers.npz") as said:
            return [j for key in said.files for j in _judged(asked, key, said[key])]


def _judged(asked: Asked, key: str, listed: Any) -> list[Judged]:
    peer, _, surface = key.partition("/")
    names = list(asked.items)
    found = []
    for (session, wanted), row in zip(asked.wanted, listed.tolist(), strict=True):
        taken = wanted[surface]
        if taken:
            hits = sum(names[item] in taken for item in row if item >= 0)
            past = session.past
            found.append(Judged(peer, surface, past.visitor_id, past.at_ms, hits, len(taken)))
    return found


def figures(judged: list[Judged]) -> dict[str, dict[str, float]]:
    """HR@10 and recall@10 of each policy among these, with the number of requests."""
    rows: dict[str, list[Judged]] = {}
    for one in judged:
        rows.setdefault(one.policy, []).append(one)
    return {
        name: {
            "hr10": round(float(np.mean([r.found > 0 for r in kept])), 4),
            "recall10": round(float(np.mean([r.found / r.wanted for r in kept])), 4),
            "n": len(kept),
        }
        for name, kept in rows.items()
    }
