"""`python -m bench floor`: what the loop earns on Online Retail, by the protocol of the docs.

Test, then train, from 2011-03-01: every session of a known customer is asked about on `home` and
`discover`, answered by the loop, its cut-down forms and the plain baselines, and judged on the
whole basket. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time

from bench.floor_data import (
    WEEK_MS,
    Session,
    day_ms,
    in_batches,
    purchase_sessions,
    put_items,
)
from bench.floor_loop import SURFACES, LearnedPolicy, Loop
from bench.floor_models import FRESH_WEEKS, Recipes, Scorer, train
from bench.floor_report import report
from bench.retail import load
from core.ranker import OnlineRanker
from core.ranker_fit import fit_initial
from core.ranking import RankerWeights
from core.rehearsal import rehearse
from core.shop_state import ShopState
from trainer.recommend.fit import Recipe
from trainer.recommend.recipes import FIRST

BURN_IN_MS = 2 * WEEK_MS
TRAINING_COST_MS = 6 * 3_600_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the subcommand."""
    parser.add_argument("--start", default="2011-03-01", help="first day that is judged")
    parser.add_argument("--until", default="2011-12-31", help="first day that is left out")
    parser.add_argument("--barrier-hours", type=float, default=2.0, help="0 answers one by one")
    parser.add_argument("--epochs", type=int, default=FIRST.epochs, help="of the first training")
    parser.add_argument("--threads", type=int, default=1, help="for training and scoring")
    parser.add_argument("--seed", type=int, default=0)


def run(arguments: argparse.Namespace) -> int:
    """Walks the data once and prints the table."""
    began = time.perf_counter()
    recipes = Recipes().with_options(arguments.epochs, arguments.threads, arguments.seed)
    start, until = day_ms(arguments.start), day_ms(arguments.until)
    found = [s for s in purchase_sessions(load()) if s.past.at_ms < until]
    state, first, initial = first_version(found, start, recipes)
    loop = Loop(state, _policies(initial, start + BURN_IN_MS))
    batch_ms = int(arguments.barrier_hours * 3_600_000)
    _walk(loop, found, (start, batch_ms), (first, recipes))
    result = report(loop.judged, start)
    result["wall_s"] = round(time.perf_counter() - began, 1)
    result["settings"] = vars(arguments) | {"command": None}
    print(json.dumps(result))
    return 0


def first_version(
    found: list[Session], start_ms: int, recipes: Recipes
) -> tuple[ShopState, Scorer, dict[str, RankerWeights]]:
    """State, sequence model and ranker weights as of `start_ms`.

    The ranker is fitted on the last four weeks with a model that has not seen them; the model then
    takes them in by a warm start.
    """
    fresh_ms = start_ms - FRESH_WEEKS * WEEK_MS
    early = train(found, fresh_ms, recipes.first)
    scorer = Scorer(early)
    state = ShopState()
    before = [s for s in found if s.past.at_ms < start_ms]
    for session in before:
        put_items(state, session)
    rows = rehearse(
        state, [s.past for s in before], fresh_ms, SURFACES, lambda h: scorer.scores([h])[0]
    )
    initial = {s: fit_initial(*rows[s].stacked(), version=f"first-{s}") for s in SURFACES}
    return state, Scorer(train(found, start_ms, recipes.step, early, fresh_ms)), initial


def _policies(initial: dict[str, RankerWeights], burn_in_end_ms: int) -> list[LearnedPolicy]:
    def rankers() -> dict[str, OnlineRanker]:
        return {s: OnlineRanker.from_weights(w) for s, w in initial.items()}

    return [
        LearnedPolicy("loop", "live", rankers()),
        LearnedPolicy("loop_without_transformer", "none", rankers()),
        LearnedPolicy("frozen_transformer", "frozen", rankers()),
        LearnedPolicy("control", "frozen", rankers(), frozen_at_ms=burn_in_end_ms),
    ]


def _walk(
    loop: Loop, found: list[Session], span: tuple[int, int], model: tuple[Scorer, Recipes]
) -> None:
    start_ms, batch_ms = span
    frozen, recipes = model
    live, week = frozen, 0
    judged = [s for s in found if s.past.at_ms >= start_ms]
    for batch in in_batches(judged, batch_ms):
        now_ms = batch[0].past.at_ms
        while now_ms >= start_ms + (week + 1) * WEEK_MS + TRAINING_COST_MS:
            week += 1
            live = _retrained(live, found, start_ms + week * WEEK_MS, recipes.of_week(week))
        histories = [loop.state.history(s.past.visitor_id) for s in loop.asked(batch)]
        loop.step(batch, {"live": live.scores(histories), "frozen": frozen.scores(histories)})


def _retrained(live: Scorer, found: list[Session], until_ms: int, recipe: Recipe) -> Scorer:
    fresh_ms = until_ms - FRESH_WEEKS * WEEK_MS
    return Scorer(train(found, until_ms, recipe, live.model, fresh_ms))
