"""The loss: softmax over the targets of a batch and hard negatives, corrected for how they came.

Who is popular is in many batches, and would be pushed down for it. The correction (Bengio, Senecal
2008; Yi et al., RecSys 2019) takes log Q off every score, Q(j) = how often item j is expected
among the candidates:

    L = −mean_i log  e^{s(i,t) − α log Q(t)} / Σ_j e^{s(i,j) − α log Q(j)}
    Q(j) = min(1, B q(j))

q(j): j's share of all targets, B: the pairs that were drawn; Q = 1 of a text that a step reads, all
of whose pairs are there, and of a hard negative, which was sought out. With
α = 1 the optimum is s = log p(j|i) + const, popularity contained; with α = 0 it is log p(j|i)/q(j),
what the text says of the user alone, which is all that is known of an item without an event.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def log_expected(share: Tensor, drawn: int) -> Tensor:
    """log Q(j) of items with these shares of the targets, float32[k]; B is `drawn`."""
    return (share * drawn).clamp(max=1.0).clamp_min(1e-12).log()


def corrected_softmax(
    scores: Tensor, log_q: Tensor, target: Tensor, own: Tensor, hard: Tensor, strength: float
) -> Tensor:
    """The mean loss, a scalar.

    Args:
        scores: float32[b, k], of every pair and candidate.
        log_q: float32[k], log Q of the candidates.
        target: int64[b], which candidate is the pair's own.
        own: bool[b, k], candidates that are no negatives, such as the user has.
        hard: float32[b, h], scores of hard negatives; -inf for none.
        strength: α.
    """
    corrected = scores - strength * log_q
    others = own.scatter(1, target.unsqueeze(1), value=False)
    logits = torch.cat([corrected.masked_fill(others, -torch.inf), hard], 1)
    return cross_entropy(logits, target)
