"""The peer: the same model as a plain transformers classifier, as most people would serve it.

Trunk with the adapter merged, mean pooling and the sentiment head, in fp32, asked by
`pipeline("text-classification")`. Its tokenizer and padding are transformers' own; texts reach it
cleaned, because a bare pipeline fails on some (a lone surrogate, more than 512 tokens).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import registry
from models.data import LABELS
from models.encoder import load_trunk, pooled
from models.errors import ArtifactError
from models.pruning import LAYER, keep_layers
from models.registry import Manifest
from models.shape import read_shape
from models.tuned import Tuned, read_tuned
from models.versions import resolved


def plain_model(trunk: Path, artifact: Path | None) -> tuple[Any, Any, Any]:
    """The trunk as transformers' model with the adapter merged, and the head's weight and bias.

    Raises:
        ArtifactError: the artifact is absent or altered, or has a prefix.
    """
    folder = resolved(artifact)
    manifest = registry.read_manifest(folder)
    read = read_tuned(folder, manifest, trunk)
    if read.prefix is not None:
        raise ArtifactError(
            f"{folder} has a prefix, which a plain transformers model does not read"
        )
    heads = registry.read_tensors(folder / registry.HEADS)
    model = of_transformers(trunk, manifest, read)
    return model, heads["sentiment.weight"], heads["sentiment.bias"]


def of_transformers(trunk: Path, manifest: Manifest, read: Tuned) -> Any:
    """The trunk as transformers' model, its layers as an artifact has them."""
    model = load_trunk(trunk, attention="sdpa")
    if manifest.layers:
        keep_layers(model, manifest.layers)
    # The embeddings are never trained: what transformers has read of them stays.
    layers = {name: each for name, each in read.weights.items() if name.startswith(LAYER)}
    model.encoder.load_state_dict({f"layer.{n.removeprefix(LAYER)}": w for n, w in layers.items()})
    return model


def plain_logits(
    trunk: Path, artifact: Path | None, rows: Sequence[Sequence[int]]
) -> NDArray[np.float32]:
    """Logits [rows, 3] of token ids, one row at a time: nothing of ours but the weights."""
    import torch

    model, weight, bias = plain_model(trunk, artifact)
    found = np.empty((len(rows), len(LABELS)), np.float32)
    with torch.inference_mode():
        for index, row in enumerate(rows):
            ids = torch.tensor([row])
            vector = pooled(model, ids, torch.ones_like(ids))
            found[index] = (vector @ weight.T + bias)[0].numpy()
    return found


def pipeline(trunk: Path, artifact: Path | None) -> Callable[[list[str], int], list[str]]:
    """`pipeline("text-classification")` of transformers: (texts, batch size) → their labels."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertPreTrainedModel
    from transformers import pipeline as asked_by
    from transformers.modeling_outputs import SequenceClassifierOutput
    from transformers.utils import logging

    logging.set_verbosity_error()  # it warns that the class below is not one of its own
    model, weight, bias = plain_model(trunk, artifact)

    class Mean(BertPreTrainedModel):
        """A classifier on the mean of the last hidden states, as the artifact needs it."""

        def __init__(self, config: BertConfig) -> None:
            super().__init__(config)
            self.bert = model
            self.head = torch.nn.Linear(*reversed(weight.shape))

        def forward(
            self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any
        ) -> SequenceClassifierOutput:
            vectors = pooled(self.bert, input_ids, attention_mask)
            return SequenceClassifierOutput(logits=self.head(vectors))

    config = model.config
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: index for index, label in enumerate(LABELS)}
    whole = Mean(config).eval()
    whole.head.load_state_dict({"weight": weight, "bias": bias})
    tokenizer = AutoTokenizer.from_pretrained(trunk, local_files_only=True)
    most = min(512, read_shape(trunk).positions)
    before = registry.read_manifest(resolved(artifact)).text_prefix
    ask = asked_by("text-classification", model=whole, tokenizer=tokenizer, device="cpu")

    def answer(texts: list[str], batch: int) -> list[str]:
        found = ask(
            [before + text for text in texts], batch_size=batch, truncation=True, max_length=most
        )
        return [each["label"] for each in found]

    return answer
