"""Where one training keeps what its stages hand to each other; a stage's results are files.

corpus/    train, valid, test, unlabelled as JSON Lines; labels.json; card.json
encoder/   the pre-trained encoder, a Hugging Face directory with tokenizer.json
model/     the fine-tuned model, a Hugging Face directory with head.safetensors and head.json
judged/    report.json: every figure and check of the gate
variants/  the ONNX graph of each smaller version; pareto.json
version/   the files of the version as they are published
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunDir:
    """One training's folder; stages may come one by one, each from another process."""

    root: Path

    @property
    def corpus(self) -> Path:
        """The cleaned and divided examples."""
        return self.root / "corpus"

    @property
    def encoder(self) -> Path:
        """The pre-trained encoder."""
        return self.root / "encoder"

    @property
    def model(self) -> Path:
        """The fine-tuned model."""
        return self.root / "model"

    @property
    def judged(self) -> Path:
        """The gate's report."""
        return self.root / "judged"

    @property
    def variants(self) -> Path:
        """Compressed versions and their table."""
        return self.root / "variants"

    @property
    def version(self) -> Path:
        """The version's files."""
        return self.root / "version"

    def done(self, stage: str) -> bool:
        """Whether a stage has ended well."""
        return (self.root / f"{stage}.done").exists()

    def finish(self, stage: str, digest: str) -> None:
        """Says that a stage ended well, and what it was made from."""
        self.root.mkdir(parents=True, exist_ok=True)
        partial = self.root / f"{stage}.partial"
        partial.write_text(digest)
        partial.replace(self.root / f"{stage}.done")
