"""From a request to the context that is logged with its answer, and from that to the question.

The question is made from the context alone, so serving and the shadow ask the same.
"""

from core.candidates import Ask
from core.features import feature_schema_hash
from core.sequence import HISTORY_LENGTH
from core.shop_state import ShopState
from core.surfaces import SIMILAR
from schemas.predictions import Context, RecommendRequest, SimilarRequest

Asked = RecommendRequest | SimilarRequest
FEATURE_SCHEMA = feature_schema_hash()


def surface_of(request: Asked) -> str:
    """The surface on which the answer is shown, judged and learned."""
    return SIMILAR if isinstance(request, SimilarRequest) else request.surface


def context_of(state: ShopState, request: Asked, rules: str = "") -> Context:
    """What a request is answered from; `rules` names the shop's rules in force.

    Similar items are asked for as by a session that looked at the one item, whoever asks.
    """
    if isinstance(request, SimilarRequest):
        return Context(
            history=[request.item_id],
            exclude_item_ids=request.exclude_item_ids,
            feature_schema=FEATURE_SCHEMA,
            seen_ms=state.seen_ms,
            filters=request.filters,
            item_id=request.item_id,
            rules=rules,
        )
    given = request.history_item_ids
    return Context(
        history=state.history(request.visitor_id, HISTORY_LENGTH)
        if given is None
        else given[-HISTORY_LENGTH:],
        exclude_item_ids=request.exclude_item_ids,
        feature_schema=FEATURE_SCHEMA,
        seen_ms=state.seen_ms,
        history_given=given is not None,
        candidate_item_ids=request.candidate_item_ids,
        filters=request.filters,
        diversity=request.diversity,
        rules=rules,
    )


def question(visitor_id: str, surface: str, at_ms: int, k: int, context: Context) -> Ask:
    """What is asked for `visitor_id` at the event time `at_ms` in this context.

    >>> request = SimilarRequest(request_id="r", visitor_id="v", item_id="mug")
    >>> question("v", "similar", 7, 3, context_of(ShopState(), request)).history
    ('mug',)
    """
    stands_in = context.history_given or bool(context.item_id)
    return Ask(
        visitor_id=visitor_id,
        surface=surface,
        now_ms=at_ms,
        k=k,
        history=tuple(context.history) if stands_in else None,
        exclude=frozenset(context.exclude_item_ids),
        candidates=tuple(context.candidate_item_ids),
        item_id=context.item_id,
        filters=context.filters,
        diversity=context.diversity,
    )
