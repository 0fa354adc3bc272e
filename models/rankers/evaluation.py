"""HR@10 and NDCG@10 over all items; ties count against the ranker, as does what is no number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.rankers.interactions import I64, Split

CUT = 10
SCORES_AT_ONCE = 1_000_000


class Quality(NamedTuple):
    """Means over the users with a held-out item."""

    hr10: float
    ndcg10: float


def evaluate(ranker: nn.Module, split: Split, held_out: I64) -> Quality:
    """Rank each user's held-out item among all that he did not have before.

    Args:
        held_out: split.validation or split.test; for the test the validation items are had, too.
    """
    items = torch.arange(split.item_count)
    users = np.flatnonzero(held_out >= 0)
    at_once = max(1, SCORES_AT_ONCE // split.item_count)
    ranks = []
    ranker.eval()
    with torch.no_grad():
        for begin in range(0, len(users), at_once):
            some = users[begin : begin + at_once]
            scores = ranker(torch.from_numpy(some), items)
            ranks.append(_ranks(scores, split, some, held_out))
    return _quality(np.concatenate(ranks) if ranks else np.zeros(0, np.int64))


def popularity(split: Split, held_out: I64) -> Quality:
    """The same for the number of interactions in training."""
    counts = torch.from_numpy(np.bincount(split.items, minlength=split.item_count)).float()
    users = np.flatnonzero(held_out >= 0)
    ranks = [_ranks(counts.expand(1, -1), split, users[at : at + 1], held_out)
             for at in range(len(users))]  # fmt: skip
    return _quality(np.concatenate(ranks) if ranks else np.zeros(0, np.int64))


def _ranks(scores: Tensor, split: Split, users: I64, held_out: I64) -> I64:
    scores = scores.clone()
    target = scores[torch.arange(len(users)), torch.from_numpy(held_out[users])].unsqueeze(1)
    for row, user in enumerate(users):
        scores[row, split.items[split.start[user] : split.start[user + 1]]] = -torch.inf
        if held_out is split.test:
            scores[row, split.validation[user]] = -torch.inf
    worse = (scores < target).sum(1)
    found = scores.shape[1] - worse
    found[~torch.isfinite(target.squeeze(1))] = scores.shape[1] + CUT
    return np.asarray(found.numpy(), np.int64)


def _quality(ranks: I64) -> Quality:
    if not len(ranks):
        return Quality(0.0, 0.0)
    hits = ranks <= CUT
    gains = np.where(hits, 1 / np.log2(1.0 + np.maximum(ranks, 1)), 0.0)
    return Quality(round(float(hits.mean()), 6), round(float(gains.mean()), 6))
