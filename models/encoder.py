"""The trunk for training: tokenising, the transformers model, and mean pooling.

Sentence vector = mean of the last hidden states over the real tokens. Serving has a leaner forward
pass (`forward`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.base_model import TOKENIZER
from models.errors import TrunkMissingError
from models.hygiene import SPECIAL
from models.packing import pad
from models.shape import read_shape

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer


def load_tokenizer(folder: Path, max_tokens: int) -> Tokenizer:
    """The trunk's tokenizer, cutting at `max_tokens` (start and end tokens included).

    It cuts at the trunk's own positions where these are fewer.

    Raises:
        TrunkMissingError: it cannot be read, or is another trunk's.
    """
    # One thread owns the model; the tokenizer must not take the other cores.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from tokenizers import Tokenizer

    path, shape = folder / TOKENIZER, read_shape(folder)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # it has no errors of its own
        raise TrunkMissingError(f"{path} cannot be read: {error}") from None
    if (tokens := tokenizer.get_vocab_size()) > shape.vocab_size:
        raise TrunkMissingError(
            f"{path} has {tokens} tokens, and its model {shape.vocab_size}: it is another's"
        )
    _as_characters(tokenizer)
    tokenizer.enable_truncation(min(max_tokens, shape.positions))
    tokenizer.no_padding()
    return tokenizer


def _as_characters(tokenizer: Tokenizer) -> None:
    """What a user types are characters: control tokens that `hygiene` does not know are broken."""
    from tokenizers import Regex, normalizers

    tokenizer.encode_special_tokens = True
    added = tokenizer.get_added_tokens_decoder().values()
    more = [e.content for e in added if e.special and not SPECIAL.search(e.content)]
    if more:
        broken = [
            normalizers.Replace(Regex(f"(?i){re.escape(e)}"), f"{e[0]} {e[1:]}") for e in more
        ]
        own = [tokenizer.normalizer] if tokenizer.normalizer else []
        tokenizer.normalizer = normalizers.Sequence([*broken, *own])


def load_trunk(folder: Path, attention: str = "eager") -> Any:
    """The trunk as a transformers model in fp32 on the CPU, in evaluation mode.

    Args:
        attention: "eager" trains 2.4 times as fast on a CPU as "sdpa".
    """
    # Everything is on this machine; no process of ours may ask a hub.
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it tells of heads that are left alone
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


def hidden_size(trunk: Any) -> int:
    """Width of a sentence vector."""
    return int(trunk.config.hidden_size)


def pad_id(trunk: Any) -> int:
    """Token id that fills a row up."""
    return int(trunk.config.pad_token_id)
