"""How the tokens of a batch lie in memory: padded to a rectangle, or packed one text after another.

The trunk's layers see tokens in one long row, [tokens, width], in both layouts; only attention and
pooling know where a text begins and ends. CPUs take rectangles of texts of like length, where a
few percent are padding; CUDA takes packed texts, where nothing is (Krell et al., 2107.02027), by
torch's variable-length flash attention. Elsewhere the packed layout attends text by text: slow, and
the reference that the tests hold the rectangle against.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from models.packing import pad

if TYPE_CHECKING:
    import torch


class Layout(Protocol):
    """Where the texts of a batch are."""

    rows: Sequence[Sequence[int]]
    """Token ids of each text."""
    ids: torch.Tensor
    """Token ids, int64 [tokens]."""
    positions: torch.Tensor
    """Of each token in its text, int64 [tokens]."""

    def attend(
        self, projected: torch.Tensor, heads: int, before: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Attention of every token to its own text, [tokens, width].

        Args:
            projected: query, key and value side by side, [tokens, 3 · width].
            before: keys and values that stand before every text, [2, heads, some, width of a head].
        """

    def mean(self, hidden: torch.Tensor, of_ids: torch.Tensor | None = None) -> torch.Tensor:
        """Of the tokens of each text, fp32 [texts, width].

        Args:
            of_ids: weight of each token id, fp32 [vocabulary]; None: all alike.
        """


class Padded:
    """A rectangle [texts, longest], padding masked; `ids` and `positions` are its rows."""

    def __init__(self, rows: Sequence[Sequence[int]], pad_id: int, device: str) -> None:
        import torch

        self.rows = rows
        ids, mask = pad(rows, pad_id)
        self._shape = ids.shape
        self._rectangle = ids, mask
        self.ids = torch.from_numpy(ids).to(device).flatten()
        self.positions = torch.arange(ids.shape[1], device=device).repeat(ids.shape[0])
        self._mask = torch.from_numpy(mask).to(device)
        # A batch without padding needs no mask, and attention is faster without one.
        self._hidden = None if bool(mask.all()) else self._mask[:, None, None, :] == 0

    def attend(
        self, projected: torch.Tensor, heads: int, before: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See `Layout`."""
        import torch
        from torch.nn.functional import pad as padded
        from torch.nn.functional import scaled_dot_product_attention

        texts, longest = self._shape
        # [3, texts, heads, longest, width of a head]
        query, key, value = projected.view(texts, longest, 3, heads, -1).permute(2, 0, 3, 1, 4)
        bias = self._bias(projected)
        if before is not None:
            own = before.unsqueeze(1).expand(-1, texts, -1, -1, -1)
            key, value = torch.cat((own[0], key), 2), torch.cat((own[1], value), 2)
            bias = None if bias is None else padded(bias, (before.shape[2], 0))
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return mixed.transpose(1, 2).reshape(texts * longest, -1)

    def rectangle(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token ids and mask, int64 [texts, longest]."""
        return self._rectangle

    def _bias(self, like: torch.Tensor) -> torch.Tensor | None:
        """What is added to attention's logits, made once: 0, and -∞ where padding is."""
        import torch

        if self._hidden is None or self._hidden.dtype is like.dtype:
            return self._hidden
        zeros = torch.zeros(self._hidden.shape, dtype=like.dtype, device=like.device)
        self._hidden = zeros.masked_fill_(self._hidden, float("-inf"))
        return self._hidden

    def mean(self, hidden: torch.Tensor, of_ids: torch.Tensor | None = None) -> torch.Tensor:
        """See `Layout`."""
        weights = self._mask.unsqueeze(-1).float()
        if of_ids is not None:
            weights = weights * of_ids[self.ids].view(*self._shape, 1)
        return (hidden.view(*self._shape, -1).float() * weights).sum(1) / weights.sum(1)


class Packed:
    """Texts one after another without padding; `ids` and `positions` hold real tokens only."""

    def __init__(self, rows: Sequence[Sequence[int]], device: str) -> None:
        import torch

        self.rows = rows
        self._lengths = [len(row) for row in rows]
        self.ids = torch.tensor([*itertools.chain.from_iterable(rows)], device=device)
        self.positions = torch.cat([torch.arange(each) for each in self._lengths]).to(device)
        ends = [0, *itertools.accumulate(self._lengths)]
        self._ends = torch.tensor(ends, dtype=torch.int32, device=device)

    def attend(
        self, projected: torch.Tensor, heads: int, before: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See `Layout`."""
        # Three of [tokens, heads, width of a head]
        query, key, value = projected.view(len(projected), 3, heads, -1).unbind(1)
        lengths = self._lengths
        if before is not None:
            key, value = (
                self._behind(each, own) for each, own in zip((key, value), before, strict=True)
            )
            lengths = [each + before.shape[2] for each in lengths]
        attend = self._flash if projected.is_cuda else self._by_text
        return attend(query, key, value, lengths).reshape(len(projected), -1)

    def _behind(self, values: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        """Keys or values with `own` [heads, some, width of a head] before each text's."""
        import torch

        own = own.transpose(0, 1)
        pieces = torch.split(values, self._lengths)
        return torch.cat([part for piece in pieces for part in (own, piece)])

    def _flash(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int]
    ) -> torch.Tensor:
        import torch
        from torch.nn.attention.varlen import varlen_attn

        ends = self._ends
        if lengths is not self._lengths:
            ends = torch.tensor([0, *itertools.accumulate(lengths)]).to(ends)
        longest = max(self._lengths), max(lengths)
        mixed = varlen_attn(query, key, value, self._ends, ends, *longest)
        return cast("torch.Tensor", mixed)  # a pair only where more is asked for

    def _by_text(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int]
    ) -> torch.Tensor:
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        pieces = zip(
            torch.split(query.transpose(0, 1), self._lengths, dim=1),
            torch.split(key.transpose(0, 1), lengths, dim=1),
            torch.split(value.transpose(0, 1), lengths, dim=1),
            strict=True,
        )
        mixed = [scaled_dot_product_attention(asks, has, says) for asks, has, says in pieces]
        return torch.cat([each.transpose(0, 1) for each in mixed])

    def mean(self, hidden: torch.Tensor, of_ids: torch.Tensor | None = None) -> torch.Tensor:
        """See `Layout`."""
        import torch

        ends, values = self._ends.long(), hidden.float()
        if of_ids is None:
            return torch.segment_reduce(values, "mean", offsets=ends, axis=0)
        weights = of_ids[self.ids].unsqueeze(-1)
        summed = torch.segment_reduce(values * weights, "sum", offsets=ends, axis=0)
        return summed / torch.segment_reduce(weights, "sum", offsets=ends, axis=0)
