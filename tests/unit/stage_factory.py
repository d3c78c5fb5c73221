"""Records for the task stage, with what a test does not care about filled in."""

from collections import deque

from core.features import FEATURE_NAMES
from core.settings import DAY_MS, HOUR_MS
from schemas.models import Gate, Order, Publish, Weights
from schemas.outcomes import BasketSeen, JudgedList
from streams.stage import Stage, checkpoint_of
from streams.store import Store

START_MS = 15_000 * DAY_MS


def written_down(store: Store, stage: Stage, offsets: dict[tuple[str, int], int]) -> None:
    """A checkpoint from its begin to its end."""
    deque(checkpoint_of(stage, store, offsets), maxlen=0)


def judged(
    number: int,
    *,
    policy: str = "loop",
    version: str = "v1",
    hit: bool = True,
    surface: str = "home",
    at_ms: int | None = None,
    **changes: object,
) -> JudgedList:
    """One final list of ten items, of which the third was bought when it is a hit."""
    served_ms = START_MS + number * HOUR_MS if at_ms is None else at_ms
    items = [f"item-{(number + i) % 40}" for i in range(10)]
    bought = items[2] if hit else "elsewhere"
    fields: dict[str, object] = {
        "judged_id": f"{policy}/{surface}/{number}",
        "prediction_id": f"{policy}/{surface}/{number}",
        "request_id": f"request-{surface}-{number}",
        "visitor_id": f"visitor-{number % 17}",
        "task": "recommend",
        "surface": surface,
        "policy": policy,
        "arm": "champion" if policy == "loop" else "shadow",
        "model_version": version,
        "weights_version": "w",
        "served_at_ms": served_ms,
        "closed_at_ms": served_ms + DAY_MS,
        "age": "final",
        "version": 1,
        "item_ids": items,
        "scores": [1.0 - i / 10 for i in range(10)],
        "labels": [int(item == bought) for item in items],
        "basket": [bought, "other"],
        "new_basket": [bought],
    }
    return JudgedList(**{**fields, **changes})  # type: ignore[arg-type]


def learnable(number: int, **changes: object) -> JudgedList:
    """A final list of the loop with a feature row per item."""
    items = [f"item-{(number + i) % 40}" for i in range(10)]
    rows = [[float((number + i + j) % 5) / 5 for j in range(len(FEATURE_NAMES))] for i in range(10)]
    return judged(number, item_ids=items, features=rows, **changes)


def basket(number: int, items: list[str], at_ms: int | None = None) -> BasketSeen:
    """One order."""
    return BasketSeen(
        event_id=f"event-{number}",
        event_time_ms=START_MS + number * HOUR_MS if at_ms is None else at_ms,
        visitor_id=f"visitor-{number % 17}",
        task="recommend",
        surface="home",
        item_ids=items,
    )


def publish(
    version: str,
    at_ms: int = START_MS,
    *,
    passed: bool = True,
    retrain_id: str = "",
    **changes: object,
) -> Publish:
    """A version with ranker weights for both surfaces."""
    fields: dict[str, object] = {
        "command_id": f"publish-{version}",
        "task": "recommend",
        "retrain_id": retrain_id or f"retrain-{version}",
        "event_time_ms": at_ms,
        "model_version": version,
        "manifest_sha256": f"sha-{version}",
        "gate": Gate(passed=passed, reason="" if passed else "below the champion"),
        "ranker": [weights(version, surface) for surface in ("discover", "home")],
        "data_until_ms": at_ms,
    }
    return Publish(**{**fields, **changes})  # type: ignore[arg-type]


def weights(version: str, surface: str) -> Weights:
    """Ranker weights of a version."""
    return Weights(
        task="recommend",
        surface=surface,
        role="live",
        model_version=version,
        version=f"{version}-{surface}",
        event_time_ms=START_MS,
        feature_schema="",
        names=list(FEATURE_NAMES),
        coef=[0.1] * len(FEATURE_NAMES),
        bias=-1.0,
    )


def order(action: str, version: str | None = None, **changes: object) -> Order:
    """An operator's order."""
    fields: dict[str, object] = {
        "command_id": f"order-{action}-{version}",
        "task": "recommend",
        "action": action,
        "event_time_ms": START_MS,
        "model_version": version,
        "by": "ada",
    }
    return Order(**{**fields, **changes})  # type: ignore[arg-type]
