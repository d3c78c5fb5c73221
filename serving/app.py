"""Runs a serving replica or the shadow until it is told to stop."""

from msgspec.structs import replace

from adapters.health import start_health
from adapters.signals import stop_with
from core.settings import Settings
from serving.guard import Guard
from serving.parts import Parts
from serving.replica import Replica, join
from serving.shadow import PROCESS, ShadowLoop
from serving.versions import SHADOW_ROLES


def run_replica(settings: Settings, guard: Guard) -> None:
    """Answers over Kafka and HTTP until the guard stops it."""
    replica = Replica(settings, guard)
    stop_with(guard.stop)
    replica.start()
    guard.wait()
    replica.stop()
    guard.check()


def run_shadow(settings: Settings, guard: Guard) -> None:
    """Writes derived answers until the guard stops it."""
    whole = replace(settings, served_partitions="")  # one process derives from all answers
    parts = Parts(whole, PROCESS, SHADOW_ROLES, guard, eager=False)
    loop = ShadowLoop(settings, parts.live, parts.outbox, parts.metrics, parts.rules)
    loop.recall()
    health = None
    if settings.http_port:
        health = start_health(settings, lambda: parts.live.ready, parts.metrics_text)
    stop_with(guard.stop)
    threads = [
        guard.start("state", parts.follow),
        guard.start("shadow", lambda: loop.run(guard.stopping)),
    ]
    guard.wait()
    join(threads)
    if health is not None:
        health.stop()
    parts.close()
    guard.check()
