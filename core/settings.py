"""Every setting of every process: one flat frozen value, each default written once.

`parse` is pure: only `__main__` modules read the environment and hand it over.
"""

import typing
from collections.abc import Mapping

import msgspec

from schemas.errors import BadSettings

PREFIX = "SHOPLOOP_"
HIDDEN = "***"
_SECRET = frozenset({"alert_webhook_secret", "alert_smtp_password"})
_ADDRESSES = frozenset(
    {"clickhouse", "alert_webhook", "alert_smtp", "artefacts", "otlp", "jwt_issuer", "jwt_jwks"}
)
"""These may carry a password before the @, or a token after the ?."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings by field name; the environment name is SHOPLOOP_ + the name in upper case."""

    kafka: str = "127.0.0.1:19092"
    clickhouse: str = "http://127.0.0.1:18123/shoploop"
    artefacts: str = ""
    home: str = ""
    topic_prefix: str = "shoploop."
    log_level: str = "INFO"
    http_host: str = "127.0.0.1"
    http_port: int = 0
    http_shared: bool = False
    name: str = ""
    task: str = "recommend"
    surfaces: str = "home,discover,buy_again"
    # join
    click_window_ms: int = HOUR_MS
    purchase_window_ms: int = DAY_MS
    label_ages: str = "5m,1h,24h"
    lateness_ms: int = 200
    idle_ms: int = 2_000
    orphan_skew_ms: int = 60_000
    duplicate_window_ms: int = DAY_MS
    future_tolerance_ms: int = 5 * 60_000
    streams_memory_mb: int = 800
    # serving: versions
    versions_memory_mb: int = 1_024
    # traces
    otlp: str = ""
    trace_ratio: float = 0.01
    # serving: what is known of shoppers
    state_memory_mb: int = 192
    history_days: int = 0
    # intake
    late_horizon_ms: int = 0
    currency: str = ""
    pepper_file: str = ""
    phone_region: str = ""
    # metrics
    metric_window_ms: int = DAY_MS
    learning_age: typing.Literal["final", "1h", "5m"] = "final"
    # drift and retraining
    false_alarms_per_million: float = 1.0
    retrain_cooldown_ms: int = 14 * DAY_MS
    retrain_daily_budget: int = 2
    retrain_minimum_labels: int = 400
    retrain_refractory_ms: int = 3 * DAY_MS
    retrain_schedule_ms: int = 0
    training_cost_ms: int = 6 * HOUR_MS
    # promotion
    shadow_minimum_n: int = 150
    shadow_margin: float = 0.05
    shadow_timeout_ms: int = 4 * DAY_MS
    control_burn_in_ms: int = 14 * DAY_MS
    canary_within_ms: int = 7 * DAY_MS
    latency_budget_ms: int = 1_000
    promotion_alpha: float = 0.05
    promotion_alpha_period_ms: int = 28 * DAY_MS
    # alerts
    burst_events: int = 300
    alert_webhook: str = ""
    alert_webhook_secret: str = ""
    alert_smtp: str = ""
    alert_smtp_user: str = ""
    alert_smtp_password: str = ""
    alert_mail_from: str = ""
    alert_mail_to: str = ""
    alert_deadline_ms: int = 5 * 60_000
    runbook: str = "docs/runbook.md"
    # serving: limits
    deadline_ms: int = 1_000
    waiting_requests: int = 512
    waiting_events: int = 20_000
    caller_share: float = 0.5
    http_connections: typing.Annotated[int, msgspec.Meta(ge=16)] = 2_000
    spool_mb: int = 512
    spool_fsync: bool = False
    state_lag_ms: int = 60_000
    model_age_ms: int = 0
    model_slow_ms: int = 0
    weights_age_ms: int = 0
    # serving: several machines
    served_partitions: str = ""
    # search and texts
    served_tasks: str = ""
    search_budget_ms: int = 30
    search_prepared_ms: int = 600_000
    log_texts: bool = False
    # rules and exploration of serving
    rules: str = ""
    explore_per_10000: typing.Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100
    # training
    seed: int = 7
    threads: int = 1
    training_patience: int = 0
    learn_explored: float = 0.0
    learn_passed: float = 0.0
    learn_corrected: float = 0.0
    tasks: str = ""
    kept_runs: int = 20
    wandb: str = ""
    signing_key: str = ""
    # serving: access
    api_keys: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = ""
    jwt_jwks: str = ""
    jwt_rate: float = 0.0
    http_tls_cert: str = ""
    http_tls_key: str = ""
    http_tls_client_ca: str = ""
    # credentials
    kafka_security: typing.Literal["plaintext", "tls", "sasl_plaintext", "sasl_tls"] = "plaintext"
    kafka_sasl_mechanism: typing.Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = (
        "SCRAM-SHA-512"
    )
    kafka_username: str = ""
    kafka_password_file: str = ""
    kafka_ca: str = ""
    kafka_cert: str = ""
    kafka_key: str = ""
    clickhouse_user: str = ""
    clickhouse_password_file: str = ""

    def __repr__(self) -> str:
        """The settings that differ from their defaults, without what is secret in them."""
        standard = Settings()
        shown = (
            f"{name}={_shown(name, value)!r}"
            for name in self.__struct_fields__
            if (value := getattr(self, name)) != getattr(standard, name)
        )
        return f"Settings({', '.join(shown)})"

    @property
    def surface_names(self) -> tuple[str, ...]:
        """The surfaces that are measured and learned, in order."""
        return tuple(part for part in self.surfaces.split(",") if part)

    @property
    def served_task_names(self) -> tuple[str, ...]:
        """The text tasks this replica serves, in order; none named: every one with a pointer."""
        return tuple(part.strip() for part in self.served_tasks.split(",") if part.strip())

    @property
    def learned_ages(self) -> frozenset[str]:
        """The label ages at which answers carry what the online ranker learns from."""
        return frozenset({"final", self.learning_age})


PROOFS: tuple[str, ...] = tuple(
    name for name in Settings.__struct_fields__ if name.startswith(("kafka_", "clickhouse_"))
)
"""By these a process proves itself to Kafka and ClickHouse; embedded ones ask for none."""


def parse(environ: Mapping[str, str]) -> Settings:
    """Settings from the variables that begin with SHOPLOOP_; others are ignored.

    Raises BadSettings naming the variable when it is unknown or does not parse.

    >>> parse({"SHOPLOOP_KAFKA": "broker:9092", "PATH": "/bin"}).kafka
    'broker:9092'
    """
    types = typing.get_type_hints(Settings, include_extras=True)
    values: dict[str, object] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in types:
            raise BadSettings(f"{variable} is not a setting of shoploop")
        values[name] = _value(variable, text, types[name])
    return Settings(**values)  # type: ignore[arg-type]


def redacted(address: str) -> str:
    """An address as a log may hold it: without what stands before the @ and after the ?.

    >>> redacted("https://shop:secret@ch.example:8443/shoploop?token=secret")
    'https://***@ch.example:8443/shoploop?***'
    """
    address, question, _ = address.partition("?")
    scheme, slashes, rest = address.partition("://")
    if "@" in rest:
        address = f"{scheme}{slashes}{HIDDEN}@{rest.rpartition('@')[2]}"
    return address + (question + HIDDEN if question else "")


def _shown(name: str, value: object) -> object:
    if name in _SECRET:
        return HIDDEN
    return redacted(value) if name in _ADDRESSES and isinstance(value, str) else value


def _value(variable: str, text: str, kind: type) -> object:
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadSettings(f"{variable}={text!r}: {error}") from error
