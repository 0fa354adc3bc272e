"""Topic heads: what a text is about, from the vectors that the sentiment head reads too.

One forward pass answers both questions. A head is a linear layer over one label set, with an n-gram
expert of its own where that helps: logits = t · (W·vector + b + w · n-grams). Label sets are
separate heads, which is the masked softmax of one wide head: no set pushes another's labels down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.errors import ArtifactError
from models.ngrams import NGrams, softmax
from models.registry import TOPICS, Manifest, Stack

EXPERT = "ngrams."


class TopicHead(Struct, frozen=True):
    """weight float32[labels, hidden], bias float32[labels]; `ngrams`: its expert, if it has one."""

    labels: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    stack: Stack = Stack(0.0, 1.0)
    ngrams: NGrams | None = None

    def shares(self, vectors: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
        """Probabilities [texts, labels].

        Args:
            vectors: the trunk's with the adapter, float32[texts, hidden] (`Classifier.vectors`).
            texts: cleaned, as `Classifier.prepare` cleans them.
        """
        logits = vectors @ self.weight.T + self.bias
        if self.ngrams is not None:
            logits = logits + self.ngrams.trusted(texts, self.stack)
        return softmax(self.stack.temperature * logits)


def load_topics(folder: Path, manifest: Manifest) -> dict[str, TopicHead]:
    """The topic heads of an artifact by the names of their label sets; none is an empty dict.

    Raises:
        ArtifactError: the file does not hold what the manifest says.
    """
    if not manifest.topics:
        return {}
    from safetensors.numpy import load_file

    path = folder / TOPICS
    tensors = load_file(path)
    heads = {}
    for name, topic in manifest.topics.items():
        own = {
            key.removeprefix(f"{name}/"): each
            for key, each in tensors.items()
            if key.startswith(f"{name}/")
        }
        if "weight" not in own or len(own["weight"]) != len(topic.labels):
            raise ArtifactError(f"{path} has no head {name!r} for its {len(topic.labels)} labels")
        table = {
            key.removeprefix(EXPERT): each for key, each in own.items() if key.startswith(EXPERT)
        }
        heads[name] = TopicHead(
            topic.labels,
            own["weight"].astype(np.float32),
            own["bias"].astype(np.float32),
            topic.stack or Stack(0.0, 1.0),
            NGrams.of(table, path) if table else None,
        )
    return heads


def save_topics(folder: Path, heads: Mapping[str, TopicHead]) -> Path:
    """Write `topics.safetensors`: heads in fp16, experts in four bits."""
    from safetensors.numpy import save_file

    tensors: dict[str, NDArray[np.generic]] = {}
    for name, head in heads.items():
        tensors[f"{name}/weight"] = head.weight.astype(np.float16)
        tensors[f"{name}/bias"] = head.bias.astype(np.float16)
        if head.ngrams is not None:
            table = head.ngrams.tensors()
            tensors |= {f"{name}/{EXPERT}{key}": each for key, each in table.items()}
    scratch = folder / f".{TOPICS}"  # without room for it the former heads stay
    save_file(tensors, scratch)
    scratch.chmod(0o644)  # safetensors makes files that only their owner can read
    return scratch.replace(folder / TOPICS)
