"""The trunk's forward pass for serving, in plain torch.

The same numbers as transformers' BertModel (a test holds them together), without importing
transformers, which takes longer than loading the model. Post-norm BERT (Devlin et al., 1810.04805):
x = LN(x + attention(x)), x = LN(x + W₂ gelu(W₁ x)); query, key and value in one product.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from models.errors import TrunkMissingError

if TYPE_CHECKING:
    import torch

EMBEDDINGS = ("word_embeddings", "position_embeddings", "token_type_embeddings")
LORA_PREFIX = "base_model.model."
QUERY_KEY_VALUE = tuple(f"attention.self.{name}" for name in ("query", "key", "value"))


class Shape(Struct, frozen=True, rename={"layers": "num_hidden_layers"}):
    """What `config.json` says of the trunk."""

    layers: int
    num_attention_heads: int
    layer_norm_eps: float
    pad_token_id: int


class Forward:
    """Weights on one device, in one precision; `vectors` is all it does.

    Args:
        embeddings_of: share its embedding tables, four fifths of the trunk, which no adapter
            touches.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Mapping[str, torch.Tensor],
        device: str,
        dtype: str,
        embeddings_of: Forward | None = None,
    ) -> None:
        import torch

        self.shape = shape
        shared = embeddings_of._tables() if embeddings_of else {}
        own = {name: each for name, each in _fused(shape, weights).items() if name not in shared}
        kind = getattr(torch, dtype)
        self._weights = shared | {name: each.to(device, kind) for name, each in own.items()}

    def _tables(self) -> dict[str, torch.Tensor]:
        names = [f"embeddings.{table}.weight" for table in EMBEDDINGS]
        return {name: self._weights[name] for name in names}

    def vectors(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Mean of the last hidden states over the real tokens, fp32 [rows, hidden].

        Args:
            ids: token ids, int64 [rows, tokens].
            mask: 1 for real tokens, 0 for padding, int64 [rows, tokens].
        """
        hidden = self._embedded(ids)
        # A batch without padding needs no mask, and attention is faster without one.
        attended = None if bool(mask.all()) else mask.bool()[:, None, None, :]
        for layer in range(self.shape.layers):
            hidden = self._layer(f"encoder.layer.{layer}.", hidden, attended)
        weights = mask.unsqueeze(-1).float()
        return (hidden.float() * weights).sum(1) / weights.sum(1)

    def _embedded(self, ids: torch.Tensor) -> torch.Tensor:
        word, position, kind = (self._weights[f"embeddings.{table}.weight"] for table in EMBEDDINGS)
        return self._normed("embeddings.LayerNorm", word[ids] + position[: ids.shape[1]] + kind[0])

    def _layer(self, prefix: str, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        from torch.nn.functional import gelu, scaled_dot_product_attention

        rows, tokens, width = hidden.shape
        heads = self.shape.num_attention_heads
        # [3, rows, heads, tokens, width of a head]
        query, key, value = (
            self._linear(prefix + "qkv", hidden)
            .view(rows, tokens, 3, heads, width // heads)
            .permute(2, 0, 3, 1, 4)
        )
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(rows, tokens, width)
        out = self._linear(prefix + "attention.output.dense", mixed)
        hidden = self._normed(prefix + "attention.output.LayerNorm", hidden + out)
        out = gelu(self._linear(prefix + "intermediate.dense", hidden))
        out = self._linear(prefix + "output.dense", out)
        return self._normed(prefix + "output.LayerNorm", hidden + out)

    def _linear(self, name: str, values: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import linear

        return linear(values, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normed(self, name: str, values: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import layer_norm

        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return layer_norm(values, (values.shape[-1],), weight, bias, self.shape.layer_norm_eps)


def read_trunk(folder: Path) -> tuple[Shape, dict[str, torch.Tensor]]:
    """Shape and fp16 weights of a trunk's folder.

    Raises:
        TrunkMissingError: a file is absent or of another format.
    """
    import msgspec
    from safetensors.torch import load_file

    try:
        shape = msgspec.convert(json.loads((folder / "config.json").read_bytes()), Shape)
        return shape, load_file(folder / "model.safetensors")
    except (OSError, ValueError) as error:
        raise TrunkMissingError(
            f"{folder} cannot be read ({error}): remove the folder, it is made again"
        ) from None


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


def _fused(shape: Shape, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    import torch

    fused = dict(weights)
    for layer in range(shape.layers):
        prefix = f"encoder.layer.{layer}."
        for part in ("weight", "bias"):
            pieces = [fused.pop(f"{prefix}{name}.{part}").float() for name in QUERY_KEY_VALUE]
            fused[f"{prefix}qkv.{part}"] = torch.cat(pieces)
    return fused
