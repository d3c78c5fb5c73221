"""A fine-tuned model for other stacks: a Hugging Face directory, its head, its graph, and how to.

The usual sequence-classification heads put a layer and a tanh between encoder and labels, which
these models do not have; so AutoModel loads the encoder and a single matrix follows.
"""

from __future__ import annotations

from pathlib import Path

from schemas.errors import BadSettings
from trainer.finetune.added import Added
from trainer.finetune.model import TextModel
from trainer.judge.export import GRAPH_FILE, text_graph

README = """\
# {kind} model

`model.safetensors`, `config.json` and `tokenizer.json` are what `AutoModel` and `AutoTokenizer`
load; `head.safetensors` is the head, `head.json` says what its outputs mean. `text.onnx` is the
whole model with standard operators of opset 17: `input_ids` and `attention_mask`, int64 (batch,
length), to `logits`.

```python
{code}```
"""
CODE = """\
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

card = json.loads(Path(folder, "head.json").read_bytes())
head = load_file(f"{folder}/head.safetensors")
network = AutoModel.from_pretrained(folder).eval()
tokens = AutoTokenizer.from_pretrained(folder)(
    texts, padding=True, truncation=True, max_length=card["length"], return_tensors="pt"
)
mask = tokens["attention_mask"].unsqueeze(-1)
with torch.no_grad():
    hidden = network(**tokens).last_hidden_state
vectors = {pooling}
logits = torch.nn.functional.linear(vectors, head["weight"], head["bias"])
"""
POOLINGS = {
    "mean": "(hidden * mask).sum(1) / mask.sum(1)",
    "cls": "hidden[:, 0]",
    "last": "hidden[torch.arange(len(hidden)), mask.squeeze(-1).sum(1) - 1]",
}
CLASSES = 'logits = logits / card["temperature"]\n'
NUMBER = 'logits = logits * card["scale"] + card["centre"]\n'


def usage(model: TextModel) -> str:
    """The lines of Python that answer `texts` from a `folder`, without this project."""
    last = CLASSES if model.card.kind == "classify" else NUMBER
    return CODE.replace("{pooling}", POOLINGS[model.card.pooling]) + last


def export_hugging_face(model: TextModel, folder: Path) -> None:
    """Writes the directory.

    Raises:
        BadSettings: adapters or a prefix were added, which no standard network has; its ONNX graph
            holds them.
    """
    if model.card.added != Added():
        raise BadSettings("a model with adapters or a prefix leaves as ONNX alone")
    model.save(folder)
    (folder / GRAPH_FILE).write_bytes(text_graph(model))
    told = README.format(kind=model.card.kind, code=usage(model))
    (folder / "README.md").write_text(told)
