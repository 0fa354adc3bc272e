"""The trunk's forward pass for serving, in plain torch.

The same numbers as transformers' BertModel (a test holds them together), without importing
transformers, which takes longer than loading the model. Post-norm BERT (Devlin et al., 1810.04805):
x = LN(x + attention(x)), x = LN(x + W₂ gelu(W₁ x)); query, key and value in one product.

On a CPU the layers' weights in bf16 are kept in oneDNN's own order, as `torch.compile` would keep
them, and gelu is part of the product: it is rounded once less, which halves the labels that differ
from fp32's, and a single comment takes a third less time than by torch's `linear`. Where there are
bf16 units the whole pass is code of our own (`tiles`), two to four times as fast again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from models.layouts import Layout
from models.shape import POSITIONS, TABLES, WORDS, Shape

if TYPE_CHECKING:
    import torch

    from models.tile_products import Unit
    from models.tiles import Tiles

REORDER = "_reorder_linear_weight"  # not public, and absent in some versions: then plain `linear`
QUERY_KEY_VALUE = tuple(f"attention.self.{name}" for name in ("query", "key", "value"))


class Forward:
    """Weights on one device, in one precision; `vectors` is all it does.

    Attributes:
        packs: whether packed texts are the quicker ones; width: of a vector.

    Args:
        embeddings_of: share its embedding tables, four fifths of the trunk, which no adapter
            touches.
        prefix: trained keys and values before every text, [layers, 2, heads, tokens, width of a
            head] (`methods`); None: none.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Mapping[str, torch.Tensor],
        device: str,
        dtype: str,
        embeddings_of: Forward | None = None,
        prefix: torch.Tensor | None = None,
    ) -> None:
        import torch

        self.shape = shape
        self._device, self._dtype = device, dtype
        shared = embeddings_of._tables() if embeddings_of else {}
        kind = getattr(torch, dtype)
        whole = fused(shape, weights) | shared
        whole[WORDS] = whole[WORDS].to(device, kind)  # large: one copy of it
        own = {name: each for name, each in whole.items() if name not in shared}
        layers = [each for name, each in own.items() if name.startswith("encoder.")]
        self._matrices = sum(each.numel() for each in layers if each.dim() == 2)
        self.width = own["encoder.layer.0.output.LayerNorm.bias"].numel()
        self._tiles: Tiles | None = None
        if device == "cpu" and dtype == "bfloat16" and prefix is None:
            from models import tiles  # its compiler is no light import

            self._tiles = of_tiles(shape, whole, whole[WORDS], tiles.unit())
        self.packs = device != "cpu" or self._tiles is not None
        if self._tiles is not None:
            own = {name: each for name, each in own.items() if name in TABLES}
        self._weights = shared | {name: each.to(device, kind) for name, each in own.items()}
        self._prefix = None if prefix is None else prefix.to(device, kind)
        self._reordered: dict[str, torch.Tensor] = {}
        if device == "cpu" and dtype == "bfloat16" and hasattr(torch.ops.mkldnn, REORDER):
            self._reorder()

    @property
    def words(self) -> torch.Tensor:
        """The table of word embeddings."""
        return self._weights[WORDS]

    def _tables(self) -> dict[str, torch.Tensor]:
        return {name: self._weights[name] for name in TABLES}

    def _reorder(self) -> None:
        import torch

        for name in [each.removesuffix(".weight") for each in self._weights]:
            if not name.startswith("encoder.") or name.endswith(("LayerNorm", ".bias")):
                continue
            weight = self._weights.pop(f"{name}.weight")
            self._reordered[name] = getattr(torch.ops.mkldnn, REORDER)(weight, None)

    def vectors(self, layout: Layout, of_ids: torch.Tensor | None = None) -> torch.Tensor:
        """Mean of the last hidden states over the real tokens, fp32 [texts, hidden].

        Args:
            of_ids: weight of each token id in the mean, fp32 [vocabulary]; None: all alike.
        """
        import torch

        if self._tiles is not None:
            weights = None if of_ids is None else of_ids.numpy()
            return torch.from_numpy(self._tiles.vectors(layout.rows, weights))
        hidden = self._embedded(layout)
        for layer in range(self.shape.layers):
            before = None if self._prefix is None else self._prefix[layer]
            hidden = self._layer(f"encoder.layer.{layer}.", hidden, layout, before)
        return layout.mean(hidden, of_ids)

    def peak(self) -> float:
        """Floating-point operations a second of a large matrix product here, in practice."""
        return self._tiles.peak() if self._tiles else measured_peak(self._device, self._dtype)

    def operations(self, lengths: Sequence[int]) -> float:
        """Floating-point operations of texts of so many tokens; lookups and sums not counted."""
        tokens, pairs = sum(lengths), sum(each * each for each in lengths)
        return 2.0 * self._matrices * tokens + 4.0 * self.shape.layers * self.width * pairs

    def _embedded(self, layout: Layout) -> torch.Tensor:
        word, position, kind = (self._weights[table] for table in TABLES)
        places = layout.positions
        if self._prefix is not None:  # it takes the first positions, as it did in training
            places = places + self._prefix.shape[3]
        summed = word[layout.ids] + position[places] + kind[0]
        return self._normed("embeddings.LayerNorm", summed)

    def _layer(
        self, prefix: str, hidden: torch.Tensor, layout: Layout, before: torch.Tensor | None
    ) -> torch.Tensor:
        projected = self._linear(prefix + "qkv", hidden)
        mixed = layout.attend(projected, self.shape.num_attention_heads, before)
        out = self._linear(prefix + "attention.output.dense", mixed)
        hidden = self._normed(prefix + "attention.output.LayerNorm", out.add_(hidden))
        out = self._linear(prefix + "intermediate.dense", hidden, gelu=True)
        out = self._linear(prefix + "output.dense", out)
        return self._normed(prefix + "output.LayerNorm", out.add_(hidden))

    def _linear(self, name: str, values: torch.Tensor, gelu: bool = False) -> torch.Tensor:
        import torch

        bias = self._weights[f"{name}.bias"]
        if (reordered := self._reordered.get(name)) is not None:
            then: Any = ("gelu", [], "none") if gelu else ("none", [], "")
            done: torch.Tensor = torch.ops.mkldnn._linear_pointwise(values, reordered, bias, *then)
            return done
        out = torch.nn.functional.linear(values, self._weights[f"{name}.weight"], bias)
        return torch.nn.functional.gelu(out) if gelu else out

    def _normed(self, name: str, values: torch.Tensor) -> torch.Tensor:
        from torch.nn.functional import layer_norm

        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return layer_norm(values, (values.shape[-1],), weight, bias, self.shape.layer_norm_eps)


def of_tiles(
    shape: Shape, weights: Mapping[str, torch.Tensor], words: torch.Tensor, unit: Unit | None
) -> Tiles | None:
    """The trunk in code of our own; None where there is no unit, or it is no trunk for that.

    Args:
        weights: `fused` or not.
        words: the table of word embeddings in bf16.
    """
    import torch

    from models.tiles import Tiles, fits

    inner, width = weights["encoder.layer.0.intermediate.dense.weight"].shape
    heads, positions = shape.num_attention_heads, len(weights[POSITIONS])
    if unit is None or not fits(width, inner, heads, positions):
        return None
    whole = weights if "encoder.layer.0.qkv.weight" in weights else fused(shape, weights)
    threads = torch.get_num_threads()
    return Tiles(shape.layers, heads, shape.layer_norm_eps, whole, words, unit, threads)


def best_dtype(device: str) -> str:
    """int8 where it is the quickest, bf16 where the hardware computes it, else fp32."""
    import torch

    from models import tiles

    if device != "cpu":
        return "bfloat16"
    if tiles.bytes_first():
        return "int8"
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    # Private functions, absent in some versions of torch: then fp32, which is always right.
    found = any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return "bfloat16" if found else "float32"


def measured_peak(device: str, dtype: str) -> float:
    """Floating-point operations a second of a large matrix product of torch's."""
    import torch

    size = 1_024 if device == "cpu" else 8_192
    left = torch.randn(size, size, dtype=getattr(torch, dtype), device=device)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        (left @ left)[0, 0].item()
        best = max(best, 2.0 * size**3 / (time.perf_counter() - began))
    return best


def fused(shape: Shape, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights with query, key and value of a layer as one matrix, `qkv`."""
    import torch

    found = dict(weights)
    for layer in range(shape.layers):
        prefix = f"encoder.layer.{layer}."
        for part in ("weight", "bias"):
            pieces = [found.pop(f"{prefix}{name}.{part}").float() for name in QUERY_KEY_VALUE]
            found[f"{prefix}qkv.{part}"] = torch.cat(pieces)
    return found
