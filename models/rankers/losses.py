"""What a ranker is trained to do with the scores of a taken item and of some that were not.

BPR (Rendle et al. 2009):       −log σ(s⁺ − s⁻), the mean over the negatives
cross-entropy:                  −log softmax(s)⁺ over the taken item and the negatives
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Loss = Literal["bpr", "cross-entropy"]


def loss_of(kind: Loss, positive: Tensor, negatives: Tensor) -> Tensor:
    """Mean loss of float32[b, 1] and float32[b, k]."""
    if kind == "bpr":
        return -functional.logsigmoid(positive - negatives).mean()
    scores = torch.cat([positive, negatives], 1)
    return functional.cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.int64))
