"""Model versions: retrain requests, manifests, commands, the live pointer and its history."""

from typing import Literal

import msgspec

from schemas.events import Id, Millis

RetrainState = Literal["proposed", "accepted", "suppressed", "training", "published", "failed"]
RetrainKind = Literal[
    "drift_input", "drift_error", "drift_label", "schedule", "manual", "bootstrap"
]


class Retrain(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One statement about one retrain request; the newest `state` holds.

    `offsets` maps "topic/partition" to the next offset at the moment of the request: the trainer
    waits until the sink has passed them. `data_until_ms` bounds the training data in event time.
    `search` says why hyper-parameters are to be searched as well; empty: they are not.
    """

    retrain_id: Id
    task: Id
    state: RetrainState
    kind: RetrainKind
    reason: str
    event_time_ms: Millis
    data_until_ms: Millis
    parent_version: str | None = None
    drift_id: str | None = None
    evidence: dict[str, float] = {}
    offsets: dict[str, int] = {}
    model_version: str | None = None
    cost_ms: int = 0
    search: str = ""


class GateCheck(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One check of the offline gate: candidate against a rival on the same held-out requests."""

    name: str
    passed: bool
    value: float
    threshold: float
    low: float = 0.0
    high: float = 0.0
    n: int = 0
    detail: str = ""


class Gate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The offline gate as a whole."""

    passed: bool
    checks: list[GateCheck] = []
    reason: str = ""


class FileDigest(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a version."""

    path: str
    sha256: str
    size_bytes: int


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Inputs with the outputs expected of the graph: checked before every swap."""

    histories: list[list[int]]
    outputs: list[list[float]]
    tolerance: float = 1e-4


class Variant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One smaller or faster form of a version's graph, with what it loses and what it saves.

    `metric` names the figure that is compared with the graph as trained; `loss` is how much lower
    it is on held-out rows, with its 95 % interval from `low` to `high`. `latency_ms` is wall time
    on one thread, so it is no part of a version's identity.
    """

    name: str
    chosen: bool = False
    size_bytes: int = 0
    latency_ms: float = 0.0
    metric: str = ""
    loss: float = 0.0
    low: float = 0.0
    high: float = 0.0
    passed: bool = False
    reason: str = ""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `manifest.json` of a version says; its bytes are signed in `manifest.sig` beside it.

    `kind` is the kind of its task, `card` what is to be known of its data (spans, counts, reasons
    to drop, leakage), `variants` the table of compressed forms. `probes` are those of further
    graphs that are served, by file; a version made before there were any has none.
    """

    task: str
    version: str
    parent: str | None
    retrain_id: str
    trained_at_ms: int
    data_from_ms: int
    data_until_ms: int
    offsets: dict[str, int]
    rows: int
    code_revision: str
    lock_hash: str
    seed: int
    parameters: dict[str, float | int | str | bool]
    gate: Gate
    feature_schema: str
    vocabulary_size: int
    files: list[FileDigest]
    probe: Probe
    metrics: dict[str, float] = {}
    format: int = 1
    kind: str = "recommend"
    card: dict[str, float | int | str] = {}
    variants: list[Variant] = []
    probes: dict[str, Probe] = {}


class Publish(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag_field="command",
    tag="publish",
):
    """The trainer offers a version (or says that training failed, with `failed`).

    `ranker` holds the version's own ranker weights, one per surface (those of its ranker.json);
    `data_until_ms` is the manifest's; `judged_against` is the champion that its gate compared with.
    """

    command_id: Id
    task: Id
    retrain_id: Id
    event_time_ms: Millis
    model_version: str | None = None
    manifest_sha256: str = ""
    gate: Gate = Gate(passed=False)
    failed: str | None = None
    ranker: list["Weights"] = []
    data_until_ms: int = 0
    judged_against: str | None = None


class Order(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="command", tag="order"
):
    """An operator's order to the decider; `tune` asks a retrain to search hyper-parameters."""

    command_id: Id
    task: Id
    action: Literal["promote", "rollback", "pin", "unpin", "freeze", "unfreeze", "retrain"]
    event_time_ms: Millis
    model_version: str | None = None
    retrain_kind: RetrainKind = "manual"
    reason: str = ""
    by: str = ""
    tune: bool = False


Command = Publish | Order


class ModelPointer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What serving obeys: topic `models`, key = task. Written by the decider alone.

    `control` is the frozen first champion; `challenger` is scored in shadow. `canary` answers
    `canary_percent` of the visitors, by a hash of visitor and version; the champion the others.
    """

    task: Id
    sequence: int
    event_time_ms: Millis
    champion: str | None
    challenger: str | None = None
    control: str | None = None
    previous: str | None = None
    pinned: bool = False
    manifest_sha256: dict[str, str] = {}
    announced_wall_ms: int = 0
    canary: str | None = None
    canary_percent: int = 0


class ModelLog(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of the history of a task's versions: topic `model_log`.

    Replicas add `swapped` (with how long after the announcement, in wall time) and `refused`.
    """

    log_id: Id
    task: Id
    model_version: str
    kind: Literal[
        "published",
        "gate",
        "shadow",
        "canary",
        "promoted",
        "rejected",
        "rolled_back",
        "pinned",
        "unpinned",
        "frozen",
        "unfrozen",
        "swapped",
        "refused",
        "control",
    ]
    event_time_ms: Millis
    reason: str = ""
    retrain_id: str = ""
    process: str = ""
    announce_to_swap_ms: float | None = None
    evidence: dict[str, float] = {}
    gate: Gate | None = None


class Weights(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Online ranker weights: topic `weights`, key = task/surface/role, newest wins.

    `role` is `live`, or `control` for those frozen at the end of the burn-in. Provenance: they
    began at the weights `started_from` and have since learned `lists` answers (`examples` weighted
    rows) served between `data_from_ms` and `data_until_ms`, labelled at `label_age`.
    """

    task: Id
    surface: str
    role: Literal["live", "control"]
    model_version: str
    version: str
    event_time_ms: Millis
    feature_schema: str
    names: list[str]
    coef: list[float]
    bias: float
    examples: int = 0
    log_loss: float = 0.0
    frozen: bool = False
    started_from: str = ""
    lists: int = 0
    data_from_ms: Millis | None = None
    data_until_ms: Millis | None = None
    label_age: str = ""


class Erasure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A forget-me request, or its receipt when `done_at_ms` is set."""

    visitor_id: Id
    requested_at_ms: Millis
    done_at_ms: Millis | None = None
