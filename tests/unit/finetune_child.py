"""Fine-tunes in a process of its own: arguments are the encoder's folder, the model's, settings."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from finetune_factory import small_corpus
from torch import distributed

from trainer.finetune.settings import FinetuneSettings
from trainer.finetune.stage import finetune
from trainer.task import Task

if __name__ == "__main__":
    encoder, folder, said = sys.argv[1:4]
    task = Task(
        task="t", kind="classify", finetune=msgspec.json.decode(said, type=FinetuneSettings)
    )
    finetune(task, small_corpus(), Path(encoder), Path(folder))
    if distributed.is_initialized():
        distributed.destroy_process_group()
