"""One task's stage as a whole: judged lists and baskets in; figures, alarms and decisions out.

`step` only remembers; `close` works through what is due in event-time order, so that arrival order
between two closes does not matter, then lets the decider, the policy and the online rankers speak.
It does no I/O: the streams carry out what it returns, and keep `to_bytes` as its state.
"""

from __future__ import annotations

import msgspec

from core.drift import Drift
from core.drift_types import Evidence
from core.metrics import LOOP, Metrics, verdict_of
from core.offline_tasks import OfflineTasks
from core.online_learning import OnlineLearning
from core.pairs import Half, Requests
from core.promotion import Decider
from core.retrain_policy import RetrainPolicy
from core.running_figures import RunningFigures
from core.seen import Seen
from core.settings import Settings
from core.stage_outputs import StageOutputs as StageOutputs
from core.stage_outputs import outputs
from core.stage_records import Closed, id_of, is_due, split, time_of
from core.stage_records import Record as Record
from core.stage_saved import SavedStage
from core.stage_standing import situation, standing
from core.watch import Watch
from schemas.metrics import Metric
from schemas.models import ModelLog, Order, Publish, Retrain, Weights
from schemas.outcomes import BasketSeen, JoinCounts, JudgedList, Running, TrafficSeen

_LEARNED_ARMS = frozenset({"champion", "canary", "explore"})
_REFERENCE = "popular_7d"
_PAIRED = frozenset({LOOP, "challenger", "control", _REFERENCE})


class TaskStage:
    """The stage of one task; one owner, one thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.watermark_ms = 0
        self._records: list[tuple[int, Closed]] = []
        self._commands: list[Publish | Order] = []
        self._seen = Seen()
        self._requests = Requests()
        self._metrics = Metrics(settings)
        self._drift = Drift(settings)
        self._policy = RetrainPolicy(settings)
        self._decider = Decider(settings)
        self._learning = OnlineLearning(settings)
        self._watch = Watch(settings)
        self._running = RunningFigures(settings.task, settings.metric_window_ms)
        self._offline = OfflineTasks(settings)

    def step(self, record: Record, after_ms: int = -1) -> None:
        """Remembers a judged list, a basket or a command until a close finds it due.

        `after_ms` is a barrier that was passed when it was said: a later close takes it.
        """
        ours = record.task == self.settings.task
        if isinstance(record, Publish | Order):
            self._commands.append(record) if ours else self._offline.step(record)
        elif not ours:
            return
        elif isinstance(record, Running):
            self._running.step(record)
        else:
            self._records.append((after_ms, record))

    def close(self, watermark_ms: int, wall_ms: int) -> StageOutputs:
        """Works through everything due at this watermark and returns what follows from it.

        Orders are due at once; a published version when the watermark, or in live time the wall
        clock, has reached its event time.
        """
        self.watermark_ms = now_ms = max(self.watermark_ms, watermark_ms)
        sequence = self._decider.pointer.sequence
        said: list[msgspec.Struct] = list(self._work_through(now_ms))
        said += [*self._commanded(now_ms, wall_ms), *self._decided(now_ms)]
        said.extend(
            self._policy.close(
                situation(self.watermark_ms, self._decider, self._drift), self._drift
            )
        )
        said.extend(self._learning.close(now_ms))
        said.extend(self._metrics.close(now_ms, wall_ms, self._drift.items_known))
        pointer = self._decider.pointer
        if pointer.sequence != sequence:
            said.append(msgspec.structs.replace(pointer, announced_wall_ms=wall_ms))
        said.extend(self._watch.close(said, standing(now_ms, self._policy, self._drift)))
        said.extend(self._offline.close(wall_ms))
        self._seen.forget(now_ms)
        self._requests.forget(now_ms)
        in_flight = sorted(self._policy.state.in_flight)
        weights = self._learning.live_versions()
        return outputs(self.settings.task, said, pointer, weights, in_flight)

    def said_now(self, wall_ms: int) -> list[Metric]:
        """Provisional rows at the age `now` that are due by the wall clock; live time alone."""
        return self._running.say(wall_ms)

    def to_bytes(self) -> bytes:
        """The whole state; `from_bytes` goes on exactly from it."""
        saved = SavedStage(
            watermark_ms=self.watermark_ms,
            records=[record for _, record in self._records],
            after_ms=[after_ms for after_ms, _ in self._records],
            commands=self._commands,
            seen=self._seen,
            requests=self._requests,
            metrics=self._metrics.save(),
            drift=self._drift.save(),
            policy=self._policy.state,
            decider=self._decider.state,
            learning=self._learning.save(),
            watch=self._watch.save(),
            running=self._running.save(),
            offline=self._offline.state,
        )
        return msgspec.msgpack.encode(saved)

    @classmethod
    def from_bytes(cls, settings: Settings, data: bytes) -> TaskStage:
        """The stage that `to_bytes` described.

        >>> stage = TaskStage(Settings())
        >>> data = stage.to_bytes()
        >>> TaskStage.from_bytes(Settings(), data).to_bytes() == data
        True
        """
        saved = msgspec.msgpack.decode(data, type=SavedStage)
        stage = cls(settings)
        stage.watermark_ms = saved.watermark_ms
        after_ms = saved.after_ms or [-1] * len(saved.records)
        stage._records = list(zip(after_ms, saved.records, strict=True))
        stage._commands = saved.commands
        stage._seen, stage._requests = saved.seen, saved.requests
        stage._metrics = Metrics.load(settings, saved.metrics)
        stage._drift = Drift(settings, saved.drift)
        stage._policy = RetrainPolicy(settings, saved.policy)
        stage._decider = Decider(settings, saved.decider)
        stage._learning = OnlineLearning(settings, saved.learning)
        stage._watch = Watch(settings, saved.watch)
        width_ms = settings.metric_window_ms
        stage._running = RunningFigures(settings.task, width_ms, saved.running)
        stage._offline = OfflineTasks(settings, saved.offline)
        return stage

    def _work_through(self, now_ms: int) -> list[Metric]:
        """Takes in what is due, each window's figures made before what comes after its end."""
        closed: list[Metric] = []
        due, self._records = split(self._records, now_ms)
        for record in due:
            if time_of(record) > self._metrics.next_close_ms:
                until_ms = time_of(record) - 1
                closed += self._metrics.close_windows(until_ms, self._drift.items_known)
            if not self._seen.first(id_of(record), time_of(record)):
                continue
            if isinstance(record, JudgedList):
                self._judged(record)
            elif isinstance(record, TrafficSeen):
                self._watch.traffic(record)
            else:
                self._placed(record)
        return closed

    def _placed(self, record: BasketSeen | JoinCounts) -> None:
        self._metrics.placed(record)
        if isinstance(record, JoinCounts):
            return
        self._watch.basket(record)
        if not self._watch.leaves_out(record):
            self._alarm(self._drift.basket(record))

    def _judged(self, judged: JudgedList) -> None:
        verdict = verdict_of(judged)
        self._metrics.step(judged, verdict)
        self._watch.judged(judged)
        if not self._watch.leaves_out(judged):
            self._learn(judged)
            self._believed(judged, None if verdict is None else verdict.hr10 > 0)

    def _believed(self, judged: JudgedList, hit: bool | None) -> None:
        if judged.policy == LOOP:
            self._decider.served(judged, hit)
        if judged.age != "final" or judged.policy not in _PAIRED:
            return
        if judged.policy == LOOP and judged.arm != "champion":
            return
        if judged.policy == LOOP and judged.model_version == self._decider.pointer.champion:
            empty = not judged.basket
            surface, at_ms = judged.surface, judged.closed_at_ms
            slots, clicks = len(judged.item_ids), judged.clicks
            self._alarm(self._drift.judged(surface, at_ms, hit=hit, no_basket=empty))
            self._alarm(self._drift.clicked(surface, at_ms, slots=slots, clicks=clicks))
            if hit is not None:
                version, served_ms = judged.model_version, judged.served_at_ms
                self._decider.answered(judged.surface, version, served_ms)
        if hit is not None:
            self._pair(judged, hit)

    def _learn(self, judged: JudgedList) -> None:
        if judged.policy == LOOP and judged.arm in _LEARNED_ARMS:
            self._policy.state.labels += judged.age == "final"
            known = self._metrics.cohorts.known(judged) if judged.features else 1.0
            self._learning.learn(judged, known)

    def _pair(self, judged: JudgedList, hit: bool) -> None:
        half = Half(judged.model_version, hit, judged.degraded, judged.closed_at_ms)
        key = f"{judged.surface}/{judged.request_id}"
        others = self._requests.meet(key, judged.policy, half)
        if judged.policy == LOOP:
            for policy, rival in others.items():
                self._compare(judged.surface, half, rival, policy)
        elif LOOP in others:
            self._compare(judged.surface, others[LOOP], half, judged.policy)

    def _compare(self, surface: str, champion: Half, rival: Half, policy: str) -> None:
        if policy != _REFERENCE:
            self._decider.pair(surface, champion, rival, policy)
        elif champion.version == self._decider.pointer.champion:
            self._drift.compared(surface, champion.hit, rival.hit)

    def _alarm(self, raised: list[Evidence]) -> None:
        for evidence in raised:
            self._policy.raised(evidence)

    def _commanded(self, now_ms: int, wall_ms: int) -> list[msgspec.Struct]:
        due = [c for c in self._commands if is_due(c, now_ms, wall_ms)]
        self._commands = [c for c in self._commands if not is_due(c, now_ms, wall_ms)]
        said: list[msgspec.Struct] = []
        for command in sorted(due, key=lambda c: (c.event_time_ms, c.command_id)):
            if not self._seen.first_command(command.command_id):
                continue
            champion = self._decider.pointer.champion
            if isinstance(command, Publish):
                said.extend(self._published(command, now_ms))
            else:
                said.extend(self._ordered(command, now_ms))
            said.extend(self._swapped(champion, now_ms))
        return said

    def _published(self, offer: Publish, now_ms: int) -> list[ModelLog]:
        flight = self._policy.finished(offer.retrain_id)
        data_until_ms = flight.data_until_ms if flight else offer.event_time_ms
        entries = self._decider.publish(offer, data_until_ms, now_ms)
        if offer.failed is not None:
            self._policy.rejected(offer.retrain_id)
        return self._told(entries)

    def _ordered(self, order: Order, now_ms: int) -> list[ModelLog] | list[Retrain]:
        if order.action == "retrain":
            return self._policy.ordered(
                order, situation(self.watermark_ms, self._decider, self._drift)
            )
        if order.action in ("freeze", "unfreeze"):
            self._learning.state.frozen = order.action == "freeze"
        return self._told(self._decider.order(order, now_ms))

    def _decided(self, now_ms: int) -> list[msgspec.Struct]:
        champion = self._decider.pointer.champion
        entries = self._told(self._decider.close(now_ms))
        return [*entries, *self._swapped(champion, now_ms), *self._burned_in(now_ms)]

    def _told(self, entries: list[ModelLog]) -> list[ModelLog]:
        for entry in entries:
            if entry.kind == "rejected" and entry.retrain_id:
                self._policy.rejected(entry.retrain_id)
        return entries

    def _swapped(self, former: str | None, now_ms: int) -> list[Weights]:
        champion = self._decider.pointer.champion
        if champion is None or champion == former:
            return []
        frozen = self._freeze_control(now_ms) if former is not None else []
        candidate = self._decider.state.candidates[champion]
        self._drift.start(champion, candidate.data_until_ms)
        self._policy.swapped(now_ms)
        return [*frozen, *self._learning.start(champion, candidate.ranker, now_ms)]

    def _burned_in(self, now_ms: int) -> list[Weights]:
        first_ms = self._decider.state.first_promoted_ms
        if not first_ms or now_ms < first_ms + self.settings.control_burn_in_ms:
            return []
        return self._freeze_control(now_ms)

    def _freeze_control(self, now_ms: int) -> list[Weights]:
        control = self._decider.pointer.control
        if control is None or self._learning.state.control_frozen:
            return []
        return self._learning.freeze_control(control, now_ms)
