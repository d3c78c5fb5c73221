"""The client of shoploop's HTTP interface: `Client`, `AsyncClient`, and what they take and give.

from shoploop import Client, RecommendQuestion

with Client("http://127.0.0.1:18080") as client:
    reply = client.recommend(RecommendQuestion(visitor_id="v-1", k=10))
    print([item.item_id for item in reply.items], reply.prediction_id)
"""

from schemas.http import (
    ClassifyQuestion,
    Explanation,
    Feedback,
    ListReply,
    RecommendQuestion,
    SearchQuestion,
    SearchReply,
    SimilarQuestion,
    TextReply,
)
from schemas.predictions import Filters
from shoploop.client import AsyncClient, Client
from shoploop.errors import Busy, Refused, ShoploopError, Unreachable

__all__ = [
    "AsyncClient",
    "Busy",
    "ClassifyQuestion",
    "Client",
    "Explanation",
    "Feedback",
    "Filters",
    "ListReply",
    "RecommendQuestion",
    "Refused",
    "SearchQuestion",
    "SearchReply",
    "ShoploopError",
    "SimilarQuestion",
    "TextReply",
    "Unreachable",
]
