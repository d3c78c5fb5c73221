"""An operator's orders: written to `commands`, where the decider reads them."""

from __future__ import annotations

import argparse
import getpass
import os
from pathlib import Path
from typing import Any

import msgspec

from adapters.clock import wall_ms
from adapters.home import home_of
from adapters.kafka import producer, topic_name
from core.settings import Settings, parse
from local.state import read_state
from schemas import topics
from schemas.codec import cloud_headers, encode
from schemas.errors import Unavailable
from schemas.ids import new_id
from schemas.models import Order, Publish

WRITTEN_WITHIN_S = 10.0


def add_place(parser: argparse.ArgumentParser) -> None:
    """Declares where the shop is that a command is about."""
    parser.add_argument("--home", type=Path, help="where all state lives (SHOPLOOP_HOME)")


def settings_here(arguments: argparse.Namespace) -> Settings:
    """Settings of the environment, with the addresses of the `shoploop up` of this home, if any."""
    settings = parse(os.environ)
    if arguments.home is not None:
        settings = msgspec.structs.replace(settings, home=str(arguments.home))
    state = read_state(home_of(settings))
    return settings if state is None else state.reached_by(settings)


def order_of(
    task: str, action: Any, version: str | None, reason: str, *, tune: bool = False
) -> Order:
    """A new order by the person at this terminal, now."""
    return Order(
        command_id=new_id(),
        task=task,
        action=action,
        event_time_ms=wall_ms(),
        model_version=version,
        reason=reason,
        by=user(),
        tune=tune,
    )


def give(settings: Settings, order: Order | Publish) -> None:
    """Writes the order, or the offer; raises Unavailable when Kafka did not take it in time."""
    failures: list[str] = []

    def delivered(error: Any, _message: Any) -> None:
        if error is not None:
            failures.append(str(error))

    client = producer(settings)
    client.produce(
        topic_name(settings, topics.COMMANDS),
        key=order.task.encode(),
        value=encode(order),
        headers=list(cloud_headers(type(order).__name__.lower(), order.command_id, "console")),
        on_delivery=delivered,
    )
    left = client.flush(WRITTEN_WITHIN_S)
    if left or failures:
        reason = failures[0] if failures else f"no answer within {WRITTEN_WITHIN_S:g} s"
        raise Unavailable(f"the order was not written to Kafka at {settings.kafka}: {reason}")


def user() -> str:
    """Who is at this terminal, as far as the machine knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
