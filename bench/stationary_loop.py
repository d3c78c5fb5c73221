"""Feeds a task stage in process as streams and trainer would: barriers, lists, versions."""

from __future__ import annotations

import time

import numpy as np

from bench.floor_data import Session, put_items
from core.baselines import popular_7d
from core.candidates import Ask, gather_each, ground_of
from core.features import feature_schema_hash
from core.ranking import RankerWeights
from core.ranking import ranked as in_order
from core.settings import DAY_MS, Settings
from core.shop_state import ShopState
from core.surfaces import DISCOVER
from core.task_stage import TaskStage
from schemas.metrics import DriftAlarm, Metric
from schemas.models import Gate, ModelLog, Publish, Retrain, Weights
from schemas.outcomes import BasketSeen, JudgedList
from schemas.predictions import Slot

SURFACES = ("home", DISCOVER)


class StageLoop:
    """One pass: the shop's state, the stage, and what the stage said."""

    def __init__(
        self, state: ShopState, settings: Settings, initial: dict[str, RankerWeights]
    ) -> None:
        self.state, self.settings, self.initial = state, settings, initial
        self.stage = TaskStage(settings)
        self.live = dict(initial)
        self.champion = self.challenger = ""
        self.retrains: list[Retrain] = []
        self.alarms: list[DriftAlarm] = []
        self.promotions = self.metrics = self.judged = 0
        self.stage_s = 0.0
        self._requests = 0

    def first_version(self, start_ms: int) -> None:
        """Publishes the first version, trained up to the start."""
        self._publish("first", start_ms, start_ms)
        self._close(start_ms)

    def barrier(self, batch: list[Session]) -> None:
        """Answers a batch from one state, takes its purchases in, and closes the stage there."""
        asked = [s for s in batch if not s.is_guest and self.state.knows(s.past.visitor_id)]
        for session in asked:
            for surface in SURFACES:
                self._answer(session, surface)
        for session in batch:
            put_items(self.state, session)
            past = session.past
            self.state.apply(past.visitor_id, "purchase", past.item_ids, past.at_ms)
            self.basket(session)
        self._close(batch[-1].past.at_ms)

    def basket(self, session: Session) -> None:
        """Shows the stage one order."""
        self._step(
            BasketSeen(
                event_id=f"{session.past.visitor_id}@{session.past.at_ms}",
                event_time_ms=session.past.at_ms,
                visitor_id=session.past.visitor_id,
                task=self.settings.task,
                surface=SURFACES[0],
                item_ids=list(session.past.item_ids),
            )
        )

    def finish(self) -> None:
        """Closes everything that is pending."""
        self._close(self.stage.watermark_ms + 10 * DAY_MS)

    def _answer(self, session: Session, surface: str) -> None:
        past = session.past
        ask = Ask(past.visitor_id, surface, past.at_ms)
        ground = ground_of(self.state, ask)
        (candidates,) = gather_each(ground, [None])
        order = in_order(candidates, self.live[surface])
        shown = order.best(10)
        slots = [*shown, *order.considered(10)]
        bought = self.state.visitors[past.visitor_id].bought_rows()
        known = {self.state.catalogue.item_ids[row] for row in bought}
        fresh = [item for item in past.item_ids if item not in known]
        self._requests += 1
        self._judge(session, surface, ("loop", self.champion), (shown, slots), fresh)
        if self.challenger:
            self._judge(session, surface, ("challenger", self.challenger), (shown, []), fresh)
        popular = [_plain(item, i) for i, item in enumerate(popular_7d(ground), 1)]
        self._judge(session, surface, ("popular_7d", "popular_7d"), (popular, []), fresh)

    def _judge(
        self,
        session: Session,
        surface: str,
        policy: tuple[str, str],
        ranked: tuple[list[Slot], list[Slot]],
        fresh: list[str],
    ) -> None:
        (name, version), (shown, slots), past = policy, ranked, session.past
        wanted = set(fresh if surface == DISCOVER else past.item_ids)
        record_id = f"{name}-{self._requests}"
        self.judged += 1
        self._step(
            JudgedList(
                judged_id=record_id,
                prediction_id=record_id,
                request_id=str(self._requests),
                visitor_id=past.visitor_id,
                task=self.settings.task,
                surface=surface,
                policy=name,
                arm="champion" if name == "loop" else "shadow",
                model_version=version,
                weights_version=self.live[surface].version,
                served_at_ms=past.at_ms - 1_000,
                closed_at_ms=past.at_ms - 1_000 + self.settings.purchase_window_ms,
                age="final",
                version=1,
                item_ids=[slot.item_id for slot in shown],
                scores=[slot.score for slot in shown],
                labels=[int(slot.item_id in wanted) for slot in slots or shown],
                considered=[slot.item_id for slot in slots[len(shown) :]],
                features=[list(slot.features) for slot in slots],
                basket=list(past.item_ids),
                new_basket=fresh,
                feature_schema=feature_schema_hash(),
            )
        )

    def _step(self, record: JudgedList | BasketSeen) -> None:
        began = time.process_time()
        self.stage.step(record)
        self.stage_s += time.process_time() - began

    def _close(self, now_ms: int) -> None:
        began = time.process_time()
        outputs = self.stage.close(now_ms, 0)
        self.stage_s += time.process_time() - began
        for _, _, record in outputs.records:
            if isinstance(record, Metric):
                self.metrics += 1
            elif isinstance(record, DriftAlarm):
                self.alarms.append(record)
            elif isinstance(record, ModelLog):
                self.promotions += record.kind == "promoted"
            elif isinstance(record, Weights) and record.role == "live":
                self.live[record.surface] = RankerWeights(
                    tuple(record.names), np.asarray(record.coef), record.bias, record.version
                )
            elif isinstance(record, Retrain):
                self._asked_to_retrain(record)
        self.champion = outputs.live.get(self.settings.task, "")
        self.challenger = outputs.challenger.get(self.settings.task, "")

    def _asked_to_retrain(self, retrain: Retrain) -> None:
        self.retrains.append(retrain)
        if retrain.state == "accepted":
            due_ms = retrain.event_time_ms + retrain.cost_ms
            self._publish(retrain.retrain_id, due_ms, retrain.data_until_ms)

    def _publish(self, retrain_id: str, at_ms: int, data_until_ms: int) -> None:
        ranker = [
            Weights(
                task=self.settings.task,
                surface=surface,
                role="live",
                model_version=f"version-{retrain_id}",
                version=weights.version,
                event_time_ms=at_ms,
                feature_schema=feature_schema_hash(),
                names=list(weights.names),
                coef=weights.coef.tolist(),
                bias=weights.bias,
            )
            for surface, weights in (self.live or self.initial).items()
        ]
        self.stage.step(
            Publish(
                command_id=f"publish-{retrain_id}",
                task=self.settings.task,
                retrain_id=retrain_id,
                event_time_ms=at_ms,
                model_version=f"version-{retrain_id}",
                gate=Gate(passed=True),
                ranker=ranker,
                data_until_ms=data_until_ms,
            )
        )


def _plain(item_id: str, position: int) -> Slot:
    return Slot(item_id=item_id, position=position, score=-float(position), source="popularity")
