"""The two rankers: a score for a user and an item.

matrix factorisation (Koren, Bell, Volinsky 2009):   P_u · Q_i + b_i
MLP (He et al. 2017, its MLP tower):                 w · relu(V relu(W [P_u; Q_i])) + b_i
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["mf", "mlp"]


class MatrixFactorisation(nn.Module):
    """P · Qᵀ with an item bias."""

    def __init__(self, users: int, items: int, width: int) -> None:
        super().__init__()
        self.users = _embedding(users, width)
        self.items = _embedding(items, width)
        self.bias = nn.Parameter(torch.zeros(items))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """int64[b] and int64[b, k], or int64[k] for all of them alike: float32[b, k]."""
        p, q = self.users(users), self.items(items)
        scores: Tensor = p @ q.T if items.dim() == 1 else (p.unsqueeze(1) * q).sum(-1)
        return scores + self.bias[items]


class Mlp(nn.Module):
    """Two hidden layers over both embeddings.

    The first layer of a concatenation is a sum of two products, so that a user meets many items
    without the concatenation ever being made.
    """

    def __init__(self, users: int, items: int, width: int) -> None:
        super().__init__()
        self.users = _embedding(users, width)
        self.items = _embedding(items, width)
        self.bias = nn.Parameter(torch.zeros(items))
        self.of_user = nn.Linear(width, width)
        self.of_item = nn.Linear(width, width, bias=False)
        self.hidden = nn.Linear(width, width // 2)
        self.out = nn.Linear(width // 2, 1, bias=False)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """As MatrixFactorisation's."""
        p, q = self.of_user(self.users(users)), self.of_item(self.items(items))
        first = torch.relu(p.unsqueeze(1) + q)
        scores: Tensor = self.out(torch.relu(self.hidden(first))).squeeze(-1)
        return scores + self.bias[items]


def make(kind: Kind, users: int, items: int, width: int) -> nn.Module:
    """A ranker with fresh weights; seed torch before."""
    return (MatrixFactorisation if kind == "mf" else Mlp)(users, items, width)


def _embedding(rows: int, width: int) -> nn.Embedding:
    made = nn.Embedding(rows, width)
    nn.init.normal_(made.weight, std=0.1)
    return made
