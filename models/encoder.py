"""The trunk in torch: tokenising, mean pooling, and LoRA matrices merged into a copy.

Sentence vector = mean of the last hidden states over the real tokens. LoRA (Hu et al., 2106.09685):
W + (alpha / r) · B·A, merged once at load, so that serving costs what the trunk alone costs.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.packing import pad

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

LORA_PREFIX = "base_model.model."


def load_tokenizer(folder: Path, max_tokens: int) -> Tokenizer:
    """The trunk's tokenizer, cutting at `max_tokens` (start and end tokens included)."""
    # One thread owns the model; the tokenizer must not take the other cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def load_trunk(folder: Path, attention: str = "sdpa") -> Any:
    """The trunk as a transformers model in fp32 on the CPU, in evaluation mode.

    Args:
        attention: "eager" trains 2.4 times as fast on a CPU; "sdpa" serves.
    """
    # Everything is on this machine; no process of ours may ask a hub.
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    trunk = AutoModel.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation=attention,
        local_files_only=True,
        add_pooling_layer=False,
    )
    return trunk.eval().requires_grad_(False)


def pooled(trunk: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Sentence vectors [rows, hidden] of token ids and mask, both int64 [rows, tokens]."""
    hidden = trunk(input_ids=ids, attention_mask=mask).last_hidden_state
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    mean: torch.Tensor = (hidden * weights).sum(1) / weights.sum(1)
    return mean


def as_tensors(
    rows: Sequence[Sequence[int]], pad_id: int, device: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded token ids and mask on the device."""
    import torch

    ids, mask = pad(rows, pad_id)
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def with_adapter(trunk: Any, adapter: Mapping[str, torch.Tensor], scale: float) -> Any:
    """A copy of the trunk with the adapter merged; embeddings are shared with the original.

    Args:
        adapter: LoRA matrices under peft's names, `….lora_A.weight` [r, in], `….lora_B.weight`
            [out, r].
        scale: alpha / r.
    """
    import torch

    # The embedding table is four fifths of the trunk and no adapter touches it: keep one.
    shared = {id(parameter): parameter for parameter in trunk.embeddings.parameters()}
    merged = copy.deepcopy(trunk, memo=dict(shared))
    with torch.no_grad():
        for name, down in adapter.items():
            if not name.endswith(".lora_A.weight"):
                continue
            up = adapter[name.replace("lora_A", "lora_B")]
            target = name.removeprefix(LORA_PREFIX).removesuffix(".lora_A.weight")
            weight = merged.get_parameter(f"{target}.weight")
            weight += scale * (up.float() @ down.float()).to(weight)
    return merged


def hidden_size(trunk: Any) -> int:
    """Width of a sentence vector."""
    return int(trunk.config.hidden_size)


def pad_id(trunk: Any) -> int:
    """Token id that fills a row up."""
    return int(trunk.config.pad_token_id)
