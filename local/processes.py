"""Which processes make up shoploop on one machine, on which ports, with which environment.

Data and small builders; starting and watching is the supervisor's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

from adapters.kafka import ensure_topics
from core.settings import PREFIX, PROOFS, Settings, parse
from local.child import Spec, accepts, answers_ok, free_ports
from local.clickhouse import EmbeddedClickHouse
from local.kafka import EmbeddedKafka
from local.supervisor import Stage, choose

PRODUCT_READY_WITHIN_S = 120.0


@dataclass(frozen=True)
class Ports:
    """Every loopback port of one machine's shoploop."""

    kafka: int = 19092
    kafka_controller: int = 19093
    clickhouse: int = 18123
    serving_1: int = 18080
    serving_2: int = 18081
    streams: int = 18091
    sink: int = 18092
    trainer: int = 18093
    shadow: int = 18094
    notify: int = 18095

    @staticmethod
    def free() -> Ports:
        """Ports nobody used a moment ago, for tests and for a second shoploop."""
        return Ports(*free_ports(len(fields(Ports))))


@dataclass(frozen=True)
class Product:
    """One process of the product: its name, its module with arguments, the port it answers on."""

    name: str
    arguments: tuple[str, ...]
    port: Callable[[Ports], int]


PRODUCTS: tuple[Product, ...] = (
    Product("streams", ("streams",), lambda ports: ports.streams),
    Product("sink", ("streams", "sink"), lambda ports: ports.sink),
    Product("trainer", ("trainer",), lambda ports: ports.trainer),
    Product("serving-1", ("serving",), lambda ports: ports.serving_1),
    Product("serving-2", ("serving",), lambda ports: ports.serving_2),
    Product("shadow", ("serving", "shadow"), lambda ports: ports.shadow),
    Product("notify", ("streams", "notify"), lambda ports: ports.notify),
)
INFRASTRUCTURE = ("kafka", "clickhouse")
# Eight processes share the machine: a numeric library that spins threads of its own slows them all.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
NAMES = (*INFRASTRUCTURE, *(product.name for product in PRODUCTS))


@dataclass(frozen=True)
class Plan:
    """What to run in a home directory, and the environment that says where things are."""

    home: Path
    ports: Ports
    environ: Mapping[str, str]
    names: Sequence[str]
    refetch: bool = False

    @property
    def settings(self) -> Settings:
        """The settings the processes of this plan see."""
        return parse(self.environ)


def make_plan(
    home: Path,
    ports: Ports,
    environ: Mapping[str, str],
    names: Sequence[str] | None = None,
    *,
    refetch: bool = False,
) -> Plan:
    """The plan for a home directory; `environ`'s own settings hold but for the addresses.

    Raises:
        BadSettings: a name is unknown, or a setting in `environ` is.
    """
    choose(names or (), NAMES)
    given = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    addresses = {
        "SHOPLOOP_KAFKA": f"127.0.0.1:{ports.kafka}",
        "SHOPLOOP_CLICKHOUSE": f"http://127.0.0.1:{ports.clickhouse}/shoploop",
        "SHOPLOOP_ARTEFACTS": given.get("SHOPLOOP_ARTEFACTS") or (home / "artefacts").as_uri(),
        "SHOPLOOP_HOME": str(home),
    }
    proofs = {PREFIX + name.upper() for name in PROOFS}
    environ = {name: value for name, value in given.items() if name not in proofs} | addresses
    chosen = _usual(parse(environ)) if names is None else tuple(names)
    return Plan(home, ports, environ, chosen, refetch)


def _usual(settings: Settings) -> tuple[str, ...]:
    """Everything; the notifier only where somebody is to be notified."""
    told = settings.alert_webhook or settings.alert_smtp
    return tuple(name for name in NAMES if told or name != "notify")


def stages(plan: Plan) -> list[Stage]:
    """The stages of a plan: Kafka, ClickHouse, the topics, then the product side by side."""
    kafka = EmbeddedKafka(
        plan.home / "kafka",
        plan.ports.kafka,
        plan.ports.kafka_controller,
        refetch=plan.refetch,
    )
    clickhouse = EmbeddedClickHouse(plan.home / "clickhouse", plan.ports.clickhouse)
    made = []
    if "kafka" in plan.names:
        topics = partial(ensure_topics, plan.settings)
        made.append(Stage(lambda: (kafka.spec(),), then=topics))
    if "clickhouse" in plan.names:
        made.append(Stage(lambda: (clickhouse.spec(),)))
    products = [product for product in PRODUCTS if product.name in plan.names]
    made.append(Stage(lambda: [_spec(product, plan) for product in products]))
    return made


def _spec(product: Product, plan: Plan) -> Spec:
    port = product.port(plan.ports)
    command = [sys.executable, "-m", *product.arguments]
    if product.arguments == ("serving",):
        command += ["--name", product.name, "--port", str(port)]
    own = {"SHOPLOOP_HTTP_PORT": str(port), "SHOPLOOP_NAME": product.name, **ONE_THREAD}
    return Spec(
        name=product.name,
        command=command,
        ready=_ready(plan.settings, port),
        environ={**plan.environ, **own},
        ports=(port,),
        ready_within_s=PRODUCT_READY_WITHIN_S,
    )


def _ready(settings: Settings, port: int) -> Callable[[], bool]:
    """Asks a process whether it is ready; where only known clients may ask, whether it listens."""
    if settings.http_tls_client_ca:
        return partial(accepts, port)
    scheme = "https" if settings.http_tls_cert else "http"
    return partial(answers_ok, f"{scheme}://127.0.0.1:{port}/healthz")
