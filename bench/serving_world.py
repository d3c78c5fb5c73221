"""A shop of any size on a broker of its own, and real serving processes beside it.

Catalogue, histories and versions come from a seed. Histories are written to `events.valid` as
intake would pass them on; everything is measured through the same processes that a shop runs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import psutil
from confluent_kafka import Producer

from adapters.clock import wall_ms
from adapters.kafka import ensure_topics, producer, topic_name
from bench.serving_version import TASK, Versions
from bench.streams_ground import ROOT, Ground, process
from core.settings import Settings
from local.child import free_ports
from schemas import topics
from schemas.codec import encode
from schemas.events import EventItem, PurchaseMade
from schemas.ids import new_id
from schemas.items import Item
from schemas.models import ModelPointer
from schemas.topics import Topic

COLOURS = ("red", "ivory", "pink", "blue", "green", "black", "silver", "vintage", "jumbo", "mini")
THINGS = (
    *("mug", "cake stand", "lunch bag", "candle", "clock", "doormat", "tea towel", "bunting"),
    *("jam jar", "photo frame", "hook", "notebook", "lantern", "tray", "umbrella", "puzzle"),
)
MOTIFS = ("retrospot", "paisley", "heart", "owl", "polkadot", "spaceboy", "skull", "rose", "london")
CATEGORIES = ("Home/Kitchen", "Home/Decor", "Toys", "Garden", "Office/Paper")
BASKETS, BASKET = 10, 5
DAY_MS = 86_400_000
READY_WITHIN_S = 600.0


@dataclass
class World:
    """One shop: its settings, its catalogue, who its shoppers are, its versions."""

    ground: Ground
    settings: Settings
    item_ids: list[str]
    titles: list[str]
    visitors: list[str]
    versions: Versions
    sequence: int = 0
    changes: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def _client(self) -> Producer:
        """One that has its connections, as the decider's: making them takes half a second."""
        return producer(self.settings, linger_ms=0)

    def point(self, champion: str | None, **roles: Any) -> ModelPointer:
        """Writes a pointer, as the decider does; returns it once the broker has it."""
        self.sequence += 1
        pointer = ModelPointer(
            task=TASK,
            sequence=self.sequence,
            event_time_ms=wall_ms(),
            champion=champion,
            announced_wall_ms=wall_ms(),
            manifest_sha256=self.versions.digests,
            **roles,
        )
        self.write(topics.MODELS, TASK, encode(pointer))
        return pointer

    def write(self, topic: Topic, key: str, value: bytes) -> None:
        """Writes one record and waits for the broker."""
        self._client.produce(topic_name(self.settings, topic), value, key.encode())
        if self._client.flush(20):
            raise RuntimeError(f"{topic.name}: the broker did not take a record in 20 s")


@dataclass
class Server:
    """A running serving process."""

    child: subprocess.Popen[bytes]
    port: int
    name: str

    @property
    def url(self) -> str:
        """Its HTTP address."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """CPU seconds it has used, in user and in system mode, all threads."""
        times = psutil.Process(self.child.pid).cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        """Its resident memory in MiB."""
        return float(psutil.Process(self.child.pid).memory_info().rss) / 2**20

    def health(self) -> dict[str, Any] | None:
        """What `/healthz` says, None while it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as reply:
                found: dict[str, Any] = json.loads(reply.read())
                return found
        except (OSError, ValueError):
            return None

    def wait_ready(self, version: str | None = None, within_s: float = READY_WITHIN_S) -> float:
        """Seconds until it answers, with this champion where one is named."""
        began = time.monotonic()
        while time.monotonic() - began < within_s:
            found = self.health()
            if found and found["ready"] and (version in (None, found["model_version"])):
                return time.monotonic() - began
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.child.returncode}")
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} was not ready within {within_s:.0f} s")


def world(
    ground: Ground, name: str, items: int, visitors: int, orders: int = BASKETS, **changes: Any
) -> World:
    """A stocked shop with so many orders of five items by each visitor and one version."""
    settings = ground.settings(name, **changes)
    ensure_topics(settings)
    random = np.random.default_rng(7)
    item_ids = [f"i{number:06d}" for number in range(items)]
    titles = [_title(number, random) for number in range(items)]
    _stock(settings, item_ids, titles, random)
    names = [f"v{number:06d}" for number in range(visitors)]
    _history(settings, item_ids, names, orders, random)
    found = World(ground, settings, item_ids, titles, names, Versions(settings, item_ids))
    found.point(found.versions.make(1))
    return found


@contextmanager
def serving(
    shop: World, name: str = "serving-1", extra: Mapping[str, str] | None = None, port: int = 0
) -> Iterator[Server]:
    """`python -m serving`, started and waited for."""
    at = port or free_ports(1)[0]
    environ = {**shop.ground.environ(shop.settings), **(extra or {})}
    log = shop.ground.folder / "logs" / f"{name}.log"
    with process(["-m", "serving", "--name", name, "--port", str(at)], environ, log) as child:
        server = Server(child, at, name)
        try:
            server.wait_ready()
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {log.read_text()[-2_000:]}") from error
        yield server


def run_load(arguments: Mapping[str, Any], within_s: float = 1_200.0) -> dict[str, Any]:
    """The load generator in a process of its own; the object that it prints."""
    command = [sys.executable, "-m", "bench.serving_load", json.dumps(dict(arguments))]
    done = subprocess.run(
        command, cwd=ROOT, timeout=within_s, text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _title(number: int, random: np.random.Generator) -> str:
    words = (random.choice(COLOURS), random.choice(MOTIFS), random.choice(THINGS))
    return " ".join((*map(str, words), f"no {number}"))


def _stock(
    settings: Settings, item_ids: list[str], titles: list[str], random: np.random.Generator
) -> None:
    client, name = producer(settings, linger_ms=20), topic_name(settings, topics.ITEMS)
    prices = np.round(np.exp(random.normal(1.2, 0.8, len(item_ids))), 2).tolist()
    for number, (item_id, title) in enumerate(zip(item_ids, titles, strict=True)):
        item = Item(
            item_id=item_id,
            updated_at_ms=1_000,
            title=title,
            category=CATEGORIES[number % len(CATEGORIES)],
            price=prices[number],
        )
        client.produce(name, encode(item), item_id.encode())
        if number % 5_000 == 0:
            client.flush(30)
    client.flush(30)


def _history(
    settings: Settings,
    item_ids: list[str],
    visitors: list[str],
    orders: int,
    random: np.random.Generator,
) -> None:
    """Orders of five items for each visitor, in the last four weeks, by a long-tailed law."""
    client, name = producer(settings, linger_ms=20), topic_name(settings, topics.EVENTS_VALID)
    shares = 1.0 / np.arange(1, len(item_ids) + 1) ** 0.8
    drawn = random.choice(
        len(item_ids), (len(visitors), orders, BASKET), p=shares / shares.sum()
    ).tolist()
    start_ms = wall_ms() - 28 * DAY_MS
    for basket in range(orders):
        at_ms = start_ms + int(basket * 27 / orders * DAY_MS)
        for number, visitor in enumerate(visitors):
            chosen = dict.fromkeys(item_ids[i] for i in drawn[number][basket])
            event = PurchaseMade(
                event_id=new_id(),
                event_time_ms=at_ms + number * 20,
                visitor_id=visitor,
                transaction_id=f"t{basket}-{number}",
                items=[EventItem(item_id=item) for item in chosen],
            )
            client.produce(name, encode(event), visitor.encode())
        client.flush(30)
