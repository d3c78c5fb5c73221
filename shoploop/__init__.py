"""The client of shoploop's HTTP interface: `Client`, `AsyncClient`, and what they take and give.

from shoploop import Client, EventItem, ItemSelected, RecommendQuestion

with Client("http://127.0.0.1:18080") as client:
    reply = client.recommend(RecommendQuestion(visitor_id="v-1", k=10))
    clicked = ItemSelected(
        event_id="e-1",
        event_time_ms=time.time_ns() // 1_000_000,
        visitor_id="v-1",
        prediction_id=reply.prediction_id,
        items=[EventItem(item_id=reply.items[0].item_id)],
    )
    client.events([clicked])
"""

from schemas.events import (
    CartAdded,
    Consent,
    EventItem,
    Favourited,
    FeedbackGiven,
    ItemListViewed,
    ItemSelected,
    ItemViewed,
    PurchaseMade,
    RefundMade,
    Searched,
    ShopEvent,
)
from schemas.http import (
    ClassifyQuestion,
    EventError,
    EventsTaken,
    Explanation,
    Feedback,
    FeedbackTaken,
    ListAnswer,
    ListReply,
    Problem,
    ProblemError,
    RecommendQuestion,
    SearchAnswer,
    SearchQuestion,
    SearchReply,
    ShownItem,
    SimilarQuestion,
    TextAnswer,
    TextReply,
)
from schemas.predictions import Filters, Label
from shoploop.client import AsyncClient, Client
from shoploop.errors import Busy, Refused, ShoploopError, Unreachable

__all__ = [
    "AsyncClient",
    "Busy",
    "CartAdded",
    "ClassifyQuestion",
    "Client",
    "Consent",
    "EventError",
    "EventItem",
    "EventsTaken",
    "Explanation",
    "Favourited",
    "Feedback",
    "FeedbackGiven",
    "FeedbackTaken",
    "Filters",
    "ItemListViewed",
    "ItemSelected",
    "ItemViewed",
    "Label",
    "ListAnswer",
    "ListReply",
    "Problem",
    "ProblemError",
    "PurchaseMade",
    "RecommendQuestion",
    "RefundMade",
    "Refused",
    "SearchAnswer",
    "SearchQuestion",
    "SearchReply",
    "Searched",
    "ShopEvent",
    "ShoploopError",
    "ShownItem",
    "SimilarQuestion",
    "TextAnswer",
    "TextReply",
    "Unreachable",
]
