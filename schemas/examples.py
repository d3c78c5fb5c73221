"""An example of every record, made from its type: every required field, and the telling ones.

A field that the table below names gets that value, so that the examples tell one story; any other
required field gets the plainest value its type allows. Pure, and the same every time.
"""

from typing import Any

from msgspec import inspect

AT_MS = 1_790_000_000_000
_VALUES: dict[str, Any] = {
    "event_id": "0199b3f2-5c3b-7cc4-9a35-2f6b8f0c1d77",
    "event_time_ms": AT_MS,
    "served_at_ms": AT_MS,
    "visitor_id": "v-17850",
    "session_id": "s-8841",
    "surface": "home",
    "task": "recommend",
    "prediction_id": "0199b3f2-4b1e-7a55-8f0e-6f4de1b5a310",
    "request_id": "r-5513",
    "item_id": "22423",
    "quantity": 2,
    "price": 12.75,
    "transaction_id": "t-536365",
    "value": 25.5,
    "currency": "GBP",
    "query": "cake stand",
    "verdict": 1.0,
    "title": "Regency cakestand 3 tier",
    "category": "kitchen",
    "k": 10,
    "policy": "loop",
    "arm": "champion",
    "model_version": "20260901-4f1c",
    "weights_version": "w-118",
    "history": ["85123A", "71053"],
    "position": 1,
    "score": 0.42,
    "propensity": 0.98,
    "source": "own_items",
    "latency_ms": 3.2,
    "age": "final",
    "closed_at_ms": AT_MS + 86_400_000,
    "attributed": "token",
    "basket": ["22423"],
    "item_ids": ["22423", "85123A"],
    "scores": [0.42, 0.31],
    "labels": [1, 0],
    "name": "hr10",
    "reason": "",
    "window_start_ms": AT_MS,
    "window_end_ms": AT_MS + 86_400_000,
    "champion": "20260901-4f1c",
    "action": "promote",
    "summary": "no events for ten minutes",
    "process": "serving-1",
    "updated_at_ms": AT_MS,
    "requested_at_ms": AT_MS,
}
# Optional fields that say nothing in an example of these records.
_QUIET: dict[str, frozenset[str]] = {
    "Order": frozenset({"reason"}),
    "Retrain": frozenset({"reason"}),
    "Prediction": frozenset({"query", "labels", "value"}),
    "Item": frozenset({"reason"}),
}


def example_of(struct: inspect.StructType) -> dict[str, Any]:
    """One record of this type as JSON would hold it.

    >>> from schemas.models import Erasure
    >>> info = inspect.type_info(Erasure)
    >>> assert isinstance(info, inspect.StructType)
    >>> example_of(info)
    {'visitor_id': 'v-17850', 'requested_at_ms': 1790000000000}
    """
    quiet = _QUIET.get(struct.cls.__name__, frozenset())
    made: dict[str, Any] = {}
    if struct.tag_field is not None:
        made[struct.tag_field] = struct.tag
    for field in struct.fields:
        name = field.encode_name
        if field.required and name not in _VALUES and _may_be_null(field.type):
            made[name] = None
        elif field.required or (name not in quiet and _tells(field)):
            made[name] = _value(name, field.type)
    return made


def _tells(field: inspect.Field) -> bool:
    """Whether an optional field is worth showing."""
    inner = _without_none(field.type)
    nested = isinstance(inner, inspect.StructType) and bool(inner.fields)
    return nested or field.encode_name in _VALUES


def _value(name: str, kind: inspect.Type) -> Any:
    inner = _without_none(kind)
    if name in _VALUES and _fits(_VALUES[name], inner):
        return _VALUES[name]
    return _plainest(name, inner)


def _fits(value: Any, kind: inspect.Type) -> bool:
    match kind:
        case inspect.StrType():
            return isinstance(value, str)
        case inspect.IntType():
            return isinstance(value, int)
        case inspect.FloatType():
            return isinstance(value, int | float)
        case inspect.ListType():
            return isinstance(value, list) and all(_fits(each, kind.item_type) for each in value)
        case inspect.LiteralType():
            return value in kind.values
    return False


def _plainest(name: str, kind: inspect.Type) -> Any:
    match kind:
        case inspect.StructType():
            return example_of(kind)
        case inspect.ListType():
            return [_value(name, kind.item_type)] if _holds_structs(kind) else []
        case inspect.DictType():
            return {}
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return AT_MS if name.endswith("_ms") else max(1, kind.ge or 0)
        case inspect.FloatType():
            return 0.5
    return f"{name}-1"


def _holds_structs(kind: inspect.ListType) -> bool:
    return isinstance(kind.item_type, inspect.StructType)


def _may_be_null(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.UnionType) and kind.includes_none


def _without_none(kind: inspect.Type) -> inspect.Type:
    if not isinstance(kind, inspect.UnionType):
        return kind
    return next(each for each in kind.types if not isinstance(each, inspect.NoneType))
