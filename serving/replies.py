"""Answers as a shop reads them over HTTP: with titles and prices, without what is logged."""

from __future__ import annotations

import math
from typing import Any

from core.catalogue import Catalogue
from schemas.http import ListReply, Reply, SearchReply, ShownItem, TextReply
from schemas.predictions import ClassifyRequest, Prediction, RequestRecord, SearchRequest


def reply_of(prediction: Prediction, request: RequestRecord, catalogue: Catalogue) -> Reply:
    """The reply to a request, by its kind."""
    head: dict[str, Any] = {
        "request_id": prediction.request_id,
        "prediction_id": prediction.prediction_id,
        "model_version": prediction.model_version,
        "arm": prediction.arm,
        "degraded": prediction.degraded,
    }
    if isinstance(request, ClassifyRequest):
        return TextReply(**head, labels=prediction.labels, value=prediction.value)
    items = _shown(prediction, catalogue)
    if isinstance(request, SearchRequest):
        corrected = prediction.context.corrected_query or None
        return SearchReply(**head, items=items, corrected_query=corrected)
    return ListReply(**head, items=items)


def _shown(prediction: Prediction, catalogue: Catalogue) -> list[ShownItem]:
    shown = []
    for slot in prediction.slots:
        row = catalogue.row_of.get(slot.item_id)
        price = math.nan if row is None else float(catalogue.price[row])
        shown.append(
            ShownItem(
                item_id=slot.item_id,
                title="" if row is None else catalogue.titles[row],
                position=slot.position,
                score=slot.score,
                price=None if math.isnan(price) else price,
            )
        )
    return shown
