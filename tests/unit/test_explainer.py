"""Answers that are remembered for explanations: as many as promised, in little memory."""

from schemas.predictions import Context, Filters, Prediction, Slot
from serving.engine import Engine
from serving.explained import NEWEST, Explainer


def test_what_a_question_named_is_not_kept_to_explain_its_answer() -> None:
    explainer = Explainer("clickhouse://nowhere", Engine)
    named = [f"{number:0128}" for number in range(1_000)]
    slot = Slot(item_id="mug", position=1, score=0.5)
    for number in range(NEWEST + 1):
        context = Context(
            history=["cup"], exclude_item_ids=named, filters=Filters(categories=named[:100])
        )
        explainer.remember(
            Prediction(
                prediction_id=f"p{number}", request_id="r", visitor_id="v", task="recommend",
                surface="home", served_at_ms=1, policy="loop", arm="champion", model_version="",
                weights_version="w", slots=[slot], considered=[slot] * 20, context=context,
            )
        )  # fmt: skip
    assert sum(len(kept.packed) for kept in explainer._newest.values()) < 500_000
    found = explainer.of(f"p{NEWEST}")
    assert (found.history, [item.item_id for item in found.items]) == (["cup"], ["mug"])
