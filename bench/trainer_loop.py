"""How soon the loop has its next version: a week's warm start, and a retrain until it is published.

Online Retail through May 2011. The second figure is of real processes: a broker, ClickHouse, the
sink and `python -m trainer`, which answers a first retrain and then a week's successor; it is the
time from writing the accepted retrain to reading its Publish. The table of forms is of the
successor.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from adapters.artefacts import ArtefactStore
from adapters.clickhouse import connected
from adapters.home import artefacts_url
from adapters.kafka import Follower, consumer, end_offsets, ensure_topics, producer, topic_name
from adapters.tables_migrate import migrate
from adapters.tables_progress import wait_sunk
from bench.floor_data import day_ms
from bench.retail import ARCHIVE, load
from bench.streams_ground import Ground, ground, process, wait_for
from core.model_version import MANIFEST
from core.retail_rules import Invoice
from core.sequence import SequenceVocabulary
from core.settings import DAY_MS, Settings
from schemas import topics
from schemas.codec import encode
from schemas.events import EventItem, PurchaseMade
from schemas.items import Item
from schemas.models import Manifest, Publish, Retrain
from trainer.recommend.data import (
    CatalogueRow,
    Interaction,
    ShopData,
    clean,
    training_sessions,
    vocabulary_of,
)
from trainer.recommend.fit import fit
from trainer.recommend.recipes import FIRST, FRESH_AT_LEAST_MS, WARM

UNTIL_MS = day_ms("2011-06-01") - 1
WEEK_MS = 7 * DAY_MS
QUICK_MS = day_ms("2011-01-15")
WITHIN_S = 120.0


def measure(data: Path, quick: bool) -> dict[str, Any]:
    """The keys `warm_start_week_s`, `retrain_to_published_s` and `compression`."""
    until_ms = QUICK_MS if quick else UNTIL_MS
    packed = data / ARCHIVE.name
    invoices = load(packed if packed.is_file() else ARCHIVE)
    bought = [one for one in invoices if one.kind == "purchase" and one.at_ms <= until_ms]
    warm_s = _warm_start_s(_shop_data(bought, until_ms))
    print(f"loop: warm start on one week {warm_s:.2f} s", flush=True)
    with ground() as place:
        waits, manifest = _published(place, bought, until_ms)
    print(f"loop: first version {waits[0]:.1f} s, successor {waits[1]:.1f} s", flush=True)
    forms = [msgspec.to_builtins(each) for each in manifest.variants]
    for form in forms:
        print(f"loop: {form}", flush=True)
    return {
        "warm_start_week_s": round(warm_s, 2),
        "retrain_to_published_s": round(waits[1], 2),
        "first_retrain_to_published_s": round(waits[0], 2),
        "gate_of_successor": manifest.gate.reason or "passed",
        "compression": {"recommend": forms},
    }


def _warm_start_s(data: ShopData) -> float:
    """Wall time of fitting the sequence model to a week more, from the version of a week before."""
    before = [one for one in data.interactions if one.at_ms <= data.until_ms - WEEK_MS]
    item_ids, titles = vocabulary_of(data)
    vocabulary = SequenceVocabulary(item_ids)
    first = fit(training_sessions(before), vocabulary, titles, FIRST)
    fresh = training_sessions(data.interactions, data.until_ms - FRESH_AT_LEAST_MS)
    started = time.perf_counter()
    fit(fresh, vocabulary, titles, WARM, first.as_parent())
    return time.perf_counter() - started


def _published(
    place: Ground, bought: list[Invoice], until_ms: int
) -> tuple[tuple[float, float], Manifest]:
    """Seconds from each of two retrains to its Publish, and the second version's manifest."""
    _ = place.clickhouse
    settings = place.settings("loop")
    ensure_topics(settings)
    offsets = _fill(place, settings, bought)
    log = place.folder / "trainer.log"
    with process(["-m", "trainer"], place.environ(settings), log) as trainer:
        waits: list[float] = []
        parent: str | None = None
        for number, data_until_ms in enumerate((until_ms - WEEK_MS, until_ms)):
            retrain = _retrain(number, data_until_ms, parent, offsets)
            started = time.monotonic()
            _send(settings, retrain)
            if not wait_for(lambda n=number: len(_offers(settings)) > n, trainer, WITHIN_S):  # type: ignore[misc]
                raise RuntimeError(f"no Publish: {log.read_text()[-600:]}")
            waits.append(time.monotonic() - started)
            offer = _offers(settings)[number]
            parent = offer.model_version
            print(f"loop: {parent}, {offer.failed or offer.gate.reason or 'passed'}", flush=True)
    store = ArtefactStore(artefacts_url(settings))
    manifest = msgspec.json.decode(store.get("recommend", str(parent), MANIFEST), type=Manifest)
    return (waits[0], waits[1]), manifest


def _fill(place: Ground, settings: Settings, bought: list[Invoice]) -> dict[str, int]:
    """Writes items and purchases and has them sunk; the next offsets."""
    sender = producer(settings)
    for row in _catalogue(bought):
        item = Item(item_id=row.item_id, title=row.title, price=row.price, updated_at_ms=row.at_ms)
        sender.produce(topic_name(settings, topics.ITEMS), encode(item), row.item_id.encode())
        sender.poll(0)
    for one in _purchases(bought):
        name = topic_name(settings, topics.EVENTS_VALID)
        sender.produce(name, encode(one), one.visitor_id.encode())
        sender.poll(0)
    if sender.flush(60):
        raise RuntimeError("the broker did not take all records")
    reader = consumer(settings, None)
    try:
        offsets = {
            f"{topic.name}/{number}": offset
            for topic in (topics.EVENTS_VALID, topics.ITEMS)
            for number, offset in end_offsets(settings, reader, topic).items()
        }
    finally:
        reader.close()
    with connected(settings.clickhouse) as client:
        migrate(client)
        log = place.folder / "sink.log"
        with process(["-m", "streams", "sink"], place.environ(settings), log):
            wait_sunk(client, offsets, settings.topic_prefix, within_s=WITHIN_S)
    return offsets


def _send(settings: Settings, retrain: Retrain) -> None:
    sender = producer(settings)
    name = topic_name(settings, topics.RETRAIN)
    sender.produce(name, encode(retrain), retrain.task.encode())
    if sender.flush(20):
        raise RuntimeError("the broker did not take the retrain")


def _retrain(number: int, until_ms: int, parent: str | None, offsets: dict[str, int]) -> Retrain:
    return Retrain(
        retrain_id=f"bench-{number}",
        task="recommend",
        state="accepted",
        kind="manual" if parent else "bootstrap",
        reason="measured",
        event_time_ms=until_ms,
        data_until_ms=until_ms,
        parent_version=parent,
        offsets=offsets,
    )


def _offers(settings: Settings) -> list[Publish]:
    """Every Publish so far."""
    reader = Follower(settings, (topics.COMMANDS,))
    try:
        found = [message.value() or b"" for _, message in reader.catch_up(WITHIN_S)]
    finally:
        reader.close()
    return [msgspec.json.decode(value, type=Publish) for value in found]


def _purchases(bought: list[Invoice]) -> Iterator[PurchaseMade]:
    for one in bought:
        yield PurchaseMade(
            event_id=one.invoice,
            event_time_ms=one.at_ms,
            visitor_id=one.visitor_id,
            transaction_id=one.invoice,
            items=[EventItem(item_id=item) for item in one.item_ids],
        )


def _catalogue(bought: list[Invoice]) -> list[CatalogueRow]:
    """Each item as it was first sold."""
    first: dict[str, CatalogueRow] = {}
    for line in (line for one in bought for line in one.lines):
        first.setdefault(
            line.item_id, CatalogueRow(line.item_id, line.title, line.price, line.at_ms)
        )
    return list(first.values())


def _shop_data(bought: list[Invoice], until_ms: int) -> ShopData:
    found = [
        Interaction(one.at_ms, one.invoice, "purchase", one.visitor_id, tuple(one.item_ids))
        for one in bought
    ]
    return clean(found, _catalogue(bought), until_ms, len(found))
