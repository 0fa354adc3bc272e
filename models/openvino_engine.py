"""The trunk with its adapter in OpenVINO: eight-bit weights, for CPUs that our code knows not.

A single comment's time is that of reading the weights from memory, and eight bits are half of bf16.
Weights are rounded per output channel; activations per token in groups of 64 channels, as they come
(dynamic quantisation), so that there is nothing to calibrate. About 1 label in 100 differs from
fp32's. Where there are bf16 units our own code (`tiles`) is quicker.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from models.errors import EngineMissingError
from models.forward import fused
from models.shape import Shape

if TYPE_CHECKING:
    import torch

    from models.layouts import Layout
    from models.tuned import Tuned

GROUP = 64
INSTALL = "the engine openvino is not installed: pip install 'springtide[openvino]'"


class OpenVino:
    """Stands for `Forward`: `vectors` is all it does.

    Attributes:
        packs: never: it reads rectangles.

    Raises:
        EngineMissingError: OpenVINO is not installed, or the artifact has a prefix.
    """

    packs = False

    def __init__(self, read: Tuned, threads: int) -> None:
        model = _converted(read)
        import openvino

        compiled = openvino.Core().compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": "f32",  # of what is not a matrix product
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(GROUP),
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
            },
        )
        self._request = compiled.create_infer_request()

    def vectors(self, layout: Layout) -> torch.Tensor:
        """Mean of the last hidden states over the real tokens, fp32 [texts, hidden]."""
        import torch

        from models.layouts import Padded

        if not isinstance(layout, Padded):
            raise TypeError("OpenVINO reads rectangles")
        ids, mask = layout.rectangle()
        return torch.from_numpy(self._request.infer({0: ids, 1: mask})[0].copy())


def save(read: Tuned, path: Path) -> None:
    """Write the network as OpenVINO's XML and the weights beside it.

    Raises:
        EngineMissingError: OpenVINO is not installed, or the artifact has a prefix.
    """
    model = _converted(read)
    import openvino

    openvino.save_model(model, path)  # what is not in eight bits, in fp16


def _converted(read: Tuned) -> Any:
    # Its telemetry would tell other machines of every model that is read: let it find none.
    sys.modules.setdefault("openvino_telemetry", cast("ModuleType", None))
    try:
        import openvino
    except ImportError:
        raise EngineMissingError(INSTALL) from None
    if read.prefix is not None:
        raise EngineMissingError("the engine openvino knows no prefix: use --engine torch")
    import torch

    example = torch.ones(2, 8, dtype=torch.int64)
    with torch.no_grad():
        return openvino.convert_model(
            _module(read.shape, fused(read.shape, read.weights)),
            example_input=(example, example),
            input=[openvino.PartialShape([-1, -1])] * 2,
        )


def _module(shape: Shape, weights: Mapping[str, torch.Tensor]) -> Any:
    """The forward pass as a module that OpenVINO traces: matrices as int8 times a scale a row."""
    import torch
    from torch.nn import functional as of

    class Traced(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, each in weights.items():
                key = name.replace(".", "_")
                if name.startswith("encoder.") and each.dim() == 2:
                    scale = each.float().abs().amax(1, keepdim=True) / 127
                    self.register_buffer(f"{key}_scale", scale)
                    self.register_buffer(key, (each.float() / scale).round().to(torch.int8))
                else:
                    self.register_buffer(key, each.float())

        def get(self, name: str) -> torch.Tensor:
            found: torch.Tensor = getattr(self, name.replace(".", "_"))
            if found.dtype is torch.int8:
                found = found.float() * getattr(self, name.replace(".", "_") + "_scale")
            return found

        def linear(self, name: str, values: torch.Tensor) -> torch.Tensor:
            return of.linear(values, self.get(f"{name}.weight"), self.get(f"{name}.bias"))

        def normed(self, name: str, values: torch.Tensor) -> torch.Tensor:
            weight, bias = self.get(f"{name}.weight"), self.get(f"{name}.bias")
            return of.layer_norm(values, (values.shape[-1],), weight, bias, shape.layer_norm_eps)

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            texts, longest = ids.shape
            word = of.embedding(ids, self.get("embeddings.word_embeddings.weight"))
            position = self.get("embeddings.position_embeddings.weight")[:longest]
            kind = self.get("embeddings.token_type_embeddings.weight")[0]
            hidden = self.normed("embeddings.LayerNorm", word + position + kind)
            hiding = ((1 - mask.float()) * -1e4)[:, None, None, :]
            for layer in range(shape.layers):
                name = f"encoder.layer.{layer}"
                heads = self.linear(f"{name}.qkv", hidden)
                heads = heads.reshape(texts, longest, 3, shape.num_attention_heads, -1)
                query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
                mixed = of.scaled_dot_product_attention(query, key, value, attn_mask=hiding)
                mixed = mixed.transpose(1, 2).reshape(texts, longest, -1)
                out = self.linear(f"{name}.attention.output.dense", mixed)
                hidden = self.normed(f"{name}.attention.output.LayerNorm", hidden + out)
                out = of.gelu(self.linear(f"{name}.intermediate.dense", hidden))
                out = self.linear(f"{name}.output.dense", out)
                hidden = self.normed(f"{name}.output.LayerNorm", hidden + out)
            real = mask.unsqueeze(-1).float()
            return (hidden * real).sum(1) / real.sum(1)

    return Traced().eval()
