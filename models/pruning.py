"""Fewer layers of the trunk: a student that is twice as fast with six of twelve.

Layers are kept evenly spread, the first and the last among them: the last one is what makes
sentence vectors of this trunk good. DistilBERT (1910.01108) starts its student in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from models.shape import Shape

if TYPE_CHECKING:
    import torch

LAYER = "encoder.layer."


def spread(layers: int, wanted: int) -> tuple[int, ...]:
    """Which of so many layers to keep; empty where all are."""
    if not 0 < wanted < layers:
        return ()
    return tuple(int(each) for each in np.linspace(0, layers - 1, wanted).round())


def keep_layers(trunk: Any, layers: Sequence[int]) -> None:
    """Leave a transformers model these layers alone, numbered anew."""
    import torch

    trunk.encoder.layer = torch.nn.ModuleList(trunk.encoder.layer[each] for each in layers)
    trunk.config.num_hidden_layers = len(layers)
    for number, layer in enumerate(trunk.encoder.layer):
        layer.attention.self.layer_idx = number  # where a prefix finds its own keys


def pruned(
    shape: Shape, weights: Mapping[str, torch.Tensor], layers: Sequence[int]
) -> tuple[Shape, Mapping[str, torch.Tensor]]:
    """Shape and weights with these layers alone, numbered anew; all where none is named."""
    if not layers:
        return shape, weights
    found = {name: each for name, each in weights.items() if not name.startswith(LAYER)}
    for number, layer in enumerate(layers):
        own = f"{LAYER}{layer}."
        found |= {
            f"{LAYER}{number}.{name.removeprefix(own)}": each
            for name, each in weights.items()
            if name.startswith(own)
        }
    return msgspec.structs.replace(shape, layers=len(layers)), found
