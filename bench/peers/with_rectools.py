"""RecTools' SASRecModel on sequences from a JSON file; runs in an environment of its own.

It is told the model's settings, trains once on all but the last two items of each sequence, and
answers for the last but one (validation) or the last (test).
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

SEED = 7
K = 10


def main(given: Path, written: Path) -> None:
    """Reads {sequences, settings, targets} and writes {train_s, answers by target}."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    import torch
    from pytorch_lightning import seed_everything
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    torch.set_num_threads(1)
    asked = json.loads(given.read_text())
    sequences: dict[str, list[str]] = asked["sequences"]
    seed_everything(SEED)
    dataset = Dataset.construct(_frame(sequences, -2))
    model = SASRecModel(deterministic=True, **asked["settings"])
    started = time.perf_counter()
    model.fit(dataset)
    train_s = time.perf_counter() - started
    answers = {}
    for target in asked["targets"]:
        found = model.recommend(
            users=list(sequences),
            dataset=dataset,
            k=K,
            filter_viewed=False,
            context=_frame(sequences, target),
        )
        answers[str(target)] = found.groupby("user_id", sort=False)["item_id"].apply(list).to_dict()
    written.write_text(json.dumps({"train_s": train_s, "answers": answers}))


def _frame(sequences: dict[str, list[str]], cut: int) -> Any:
    import pandas

    rows = [
        (user, item, 1.0, pandas.Timestamp(place, unit="s"))
        for user, items in sequences.items()
        for place, item in enumerate(items[:cut])
    ]
    return pandas.DataFrame(rows, columns=["user_id", "item_id", "weight", "datetime"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
