"""The item tower in training: the trunk with LoRA in its upper layers, and a projection.

    z = unit(W unit(mean of the last hidden states, rare tokens heavier) + b)

The layers below the first that is trained never change: what they make of a text is computed once
and kept, in bf16, so that an epoch costs the upper layers alone. W and b start as the half-whitened
axes of all texts (`start`), where the ranker is what the frozen trunk is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from models import methods
from models.encoder import as_tensors, load_tokenizer, load_trunk, pad_id
from models.hygiene import clean
from models.packing import pack
from models.rarity import token_weights
from models.registry import Adapter
from models.text_ranker import start

BUDGET = 8_192  # tokens computed at once


class ItemTower(nn.Module):
    """Texts by number → unit vectors.

    Attributes:
        trunk: the transformers model, LoRA beside its layers.
        projection: W and b.
        frozen: what the projection reads before anything is trained, fp32[texts, hidden].

    Args:
        texts: as the trunk reads them, its prefix included; cut at `tokens`.
        layers: so many of the trunk's upper layers are trained; 0: the projection alone.
        width: of a vector.
    """

    def __init__(
        self, trunk: Path, texts: Sequence[str], layers: int, width: int, tokens: int
    ) -> None:
        super().__init__()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        tokenizer = load_tokenizer(trunk, tokens)
        encoded = tokenizer.encode_batch([clean(text).text or "." for text in texts])
        self._ids = [each.ids for each in encoded]
        found = token_weights(trunk)
        self._rarity = None if found is None else torch.from_numpy(found)
        whole = load_trunk(trunk)
        depth = len(whole.encoder.layer)
        self._frozen = max(0, depth - layers)
        self._method: methods.Method = "lora" if layers else "head"
        self._trained = methods.prepared(whole, self._method, self._frozen)
        self._pad = pad_id(whole)
        self.trunk = whole.to(self.device)
        self._lower = self._computed_once()
        hidden = int(whole.config.hidden_size)
        self.projection = nn.Linear(hidden, min(width, hidden)).to(self.device)
        self.frozen = self.means_of_all()
        self.start_at(start.half_whitened(as_numpy(self.frozen), self.projection.out_features))

    def _computed_once(self) -> list[Tensor]:
        """Hidden states of every text below the first trained layer, bf16[tokens, hidden]."""
        kept: list[Tensor] = [torch.empty(0)] * len(self._ids)
        with torch.no_grad(), self._autocast():
            for batch in self._batches(range(len(self._ids))):
                ids, mask = as_tensors([self._ids[at] for at in batch], self._pad, self.device)
                hidden = self.trunk.embeddings(input_ids=ids)
                hidden = self._through(hidden, mask, slice(0, self._frozen))
                for at, row in zip(batch, hidden.to(torch.bfloat16).cpu(), strict=True):
                    kept[at] = row[: len(self._ids[at])].clone()
        return kept

    def _batches(self, items: Sequence[int]) -> list[list[int]]:
        packed = pack([len(self._ids[at]) for at in items], BUDGET)
        return [[items[place] for place in batch] for batch in packed]

    def _autocast(self) -> Any:
        return torch.autocast(self.device, dtype=torch.bfloat16)

    def _through(self, hidden: Tensor, mask: Tensor, layers: slice) -> Tensor:
        bias = torch.zeros(mask.shape, device=hidden.device).masked_fill(mask == 0, -1e9)
        for layer in self.trunk.encoder.layer[layers]:
            hidden = layer(hidden, bias[:, None, None, :])
        return hidden

    def means(self, items: Sequence[int], thinning: float = 0.0) -> Tensor:
        """What the projection reads: unit means of the hidden states, fp32[len(items), hidden].

        Args:
            thinning: share of the tokens that are left out.
        """
        batches = self._batches(items)
        place = {at: k for k, at in enumerate(at for batch in batches for at in batch)}
        found = torch.cat([self._means(batch, thinning) for batch in batches])
        return found[[place[at] for at in items]]

    def _means(self, batch: list[int], thinning: float) -> Tensor:
        ids, mask = as_tensors([self._ids[at] for at in batch], self._pad, "cpu")
        hidden = nn.utils.rnn.pad_sequence([self._lower[at] for at in batch], batch_first=True)
        if thinning:
            left = torch.rand(mask.shape) >= thinning
            left[:, 0] = True  # something stays of every text
            mask = mask * left
        hidden, mask = hidden.to(self.device).float(), mask.to(self.device)
        with self._autocast():
            hidden = self._through(hidden, mask, slice(self._frozen, None))
        weights = mask.float() if self._rarity is None else mask * self._rarity[ids].to(mask.device)
        summed = (hidden.float() * weights.unsqueeze(-1)).sum(1)
        return normalize(summed)

    def forward(self, means: Tensor) -> Tensor:
        """Unit vectors, fp32[n, width], of what the projection reads, fp32[n, hidden]."""
        return normalize(self.projection(means))

    def means_of_all(self) -> Tensor:
        """`means` of every text, without gradients."""
        with torch.no_grad():
            return self.means(range(len(self._ids)))

    def all(self) -> Tensor:
        """Unit vectors of every text, without gradients, fp32[texts, width]."""
        with torch.no_grad():
            return self.forward(self.means_of_all())

    def start_at(self, found: start.Start) -> None:
        """Set W and b."""
        with torch.no_grad():
            self.projection.weight.copy_(torch.from_numpy(found.weight))
            self.projection.bias.copy_(torch.from_numpy(found.bias))

    def trained(self) -> list[nn.Parameter]:
        """LoRA's matrices; the projection's are in `projection`."""
        return [each for each in self.trunk.parameters() if each.requires_grad]

    def adapter(self) -> tuple[Adapter | None, dict[str, Tensor]]:
        """What an artifact says of the adapter, and its tensors."""
        if self._method == "head":
            return None, {}
        return methods.kept(self._trained, self._method)

    def heads(self) -> dict[str, Tensor]:
        """The projection's tensors."""
        return {f"projection.{name}": each for name, each in self.projection.state_dict().items()}


def pooled_users(vectors: Tensor, histories: Tensor, weights: Tensor) -> Tensor:
    """Users as unit vectors, fp32[n, width]: what they met, weighted.

    Args:
        vectors: fp32[items, width]; histories: int64[n, window], -1 for none.
        weights: fp32[n, window], 0 where there is none.
    """
    met = vectors[histories.clamp_min(0)]
    return normalize((met * weights.unsqueeze(-1)).sum(1))


def as_numpy(vectors: Tensor) -> npt.NDArray[np.float32]:
    """float32 on the CPU."""
    return np.asarray(vectors.detach().cpu().numpy(), np.float32)
