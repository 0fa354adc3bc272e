"""Train a ranker: mini-batches, uniform negatives, early stopping on the validation items."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from models.rankers.evaluation import Quality, evaluate
from models.rankers.interactions import Split
from models.rankers.losses import Loss, loss_of
from models.rankers.networks import Kind, make


class Plan(msgspec.Struct, frozen=True):
    """How to train.

    Attributes:
        width: of the embeddings; negatives: drawn for every batch, shared by its rows.
        patience: epochs without a better validation NDCG@10 before it stops.
        decay: weight decay of AdamW.
    """

    model: Kind = "mf"
    loss: Loss = "bpr"
    width: int = 64
    epochs: int = 50
    patience: int = 3
    batch: int = 1024
    negatives: int = 256
    rate: float = 0.003
    decay: float = 0.1
    seed: int = 0


class Trained(NamedTuple):
    """A ranker with the weights of its best epoch (counted from 1)."""

    ranker: nn.Module
    validation: Quality
    best_epoch: int
    epochs: int
    seconds: float


def train(
    split: Split, plan: Plan, logs: Path, progress: Callable[[int, float, Quality], None]
) -> Trained:
    """Train; TensorBoard reads loss and validation from `logs`.

    Args:
        progress: called after every epoch with its number, its mean loss and the validation.
    """
    from torch.utils.tensorboard import SummaryWriter

    began = time.perf_counter()
    torch.manual_seed(plan.seed)
    ranker = make(plan.model, split.user_count, split.item_count, plan.width)
    optimiser = torch.optim.AdamW(ranker.parameters(), lr=plan.rate, weight_decay=plan.decay)
    users, items = torch.from_numpy(split.users), torch.from_numpy(split.items)
    best, best_epoch, epoch = Quality(-1.0, -1.0), 0, 0
    kept = copy.deepcopy(ranker.state_dict())
    writer = SummaryWriter(str(logs))
    try:
        while epoch < plan.epochs and epoch - best_epoch < plan.patience:
            epoch += 1
            loss = _epoch(ranker, optimiser, users, items, split.item_count, plan)
            quality = evaluate(ranker, split, split.validation)
            writer.add_scalar("loss/train", loss, epoch)
            writer.add_scalar("validation/hr10", quality.hr10, epoch)
            writer.add_scalar("validation/ndcg10", quality.ndcg10, epoch)
            progress(epoch, loss, quality)
            if quality.ndcg10 > best.ndcg10:
                best, best_epoch, kept = quality, epoch, copy.deepcopy(ranker.state_dict())
    finally:
        writer.close()
    ranker.load_state_dict(kept)
    return Trained(ranker, best, best_epoch, epoch, time.perf_counter() - began)


def _epoch(
    ranker: nn.Module, optimiser: torch.optim.Optimizer, users: Tensor, items: Tensor,
    item_count: int, plan: Plan,
) -> float:  # fmt: skip
    ranker.train()
    losses = []
    for at in torch.split(torch.randperm(len(users)), plan.batch):
        negatives = torch.randint(item_count, (plan.negatives,))
        positive = ranker(users[at], items[at].unsqueeze(1))
        against = ranker(users[at], negatives)
        # A negative that happens to be the item itself says nothing.
        against = against.masked_fill(items[at].unsqueeze(1) == negatives, -1e9)
        loss = loss_of(plan.loss, positive, against)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    return float(np.mean(losses))
