"""The trunk as an artifact changes it: layers left out, trained anew, LoRA merged, a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models import base_model, registry
from models.pruning import pruned
from models.registry import Manifest
from models.shape import Shape, read_trunk

if TYPE_CHECKING:
    import torch

LORA_PREFIX = "base_model.model."
PREFIX = "prefix"


class Tuned(NamedTuple):
    """Shape and weights; `prefix`: keys and values before every text, fp32
    [layers, 2, heads, tokens, width of a head]."""

    shape: Shape
    weights: Mapping[str, torch.Tensor]
    prefix: torch.Tensor | None = None


def tuned(
    folder: Path, manifest: Manifest, shape: Shape, weights: Mapping[str, torch.Tensor]
) -> Tuned:
    """What the heads of the artifact in `folder` read from; the trunk itself where it changes none.

    Args:
        shape, weights: the trunk's (`shape.read_trunk`).
    """
    shape, kept = pruned(shape, weights, manifest.layers)
    if registry.LAYERS in manifest.sha256:
        kept = {**kept, **registry.read_tensors(folder / registry.LAYERS)}
    if registry.ADAPTER not in manifest.sha256:
        return Tuned(shape, kept)
    tensors = registry.read_tensors(folder / registry.ADAPTER)
    if PREFIX in tensors:
        return Tuned(shape, kept, _by_layer(tensors[PREFIX], shape))
    adapter = manifest.adapter
    scale = adapter.alpha / adapter.rank if adapter else 1.0
    return Tuned(shape, adapted(kept, tensors, scale))


def read_tuned(folder: Path, manifest: Manifest, trunk: Path) -> Tuned:
    """As `tuned`, with the trunk of a folder.

    Raises:
        ArtifactError: the artifact was made on another.
    """
    base_model.check(folder, manifest, trunk)
    return tuned(folder, manifest, *read_trunk(trunk))


def _by_layer(prefix: torch.Tensor, shape: Shape) -> torch.Tensor:
    """As peft lays it out, [tokens · layers · 2, hidden], by layer, key or value, and head."""
    heads = shape.num_attention_heads
    return prefix.view(-1, shape.layers, 2, heads, prefix.shape[-1] // heads).permute(1, 2, 3, 0, 4)


def adapted(
    weights: Mapping[str, torch.Tensor], adapter: Mapping[str, torch.Tensor], scale: float
) -> dict[str, torch.Tensor]:
    """Weights with LoRA merged, W + scale · B·A, in fp32 where it was (2106.09685).

    Args:
        adapter: LoRA matrices under peft's names, `….lora_A.weight` [r, in], `….lora_B.weight`
            [out, r].
        scale: alpha / r.
    """
    merged = dict(weights)
    for name, down in adapter.items():
        if not name.endswith(".lora_A.weight"):
            continue
        up = adapter[name.replace("lora_A", "lora_B")]
        target = name.removeprefix(LORA_PREFIX).removesuffix(".lora_A.weight") + ".weight"
        merged[target] = weights[target].float() + scale * (up.float() @ down.float())
    return merged
