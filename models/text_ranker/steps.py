"""Steps of training: some items' texts at a time, against the pairs that they occur in.

The text costs, not the pair: so a step reads the texts of a few hundred items once, and takes the
pairs with one of them as the target and others with one among the latest that the user met. What
all other texts say is as it was when they were last read (cross-batch memory, 1912.06798), under
the projection of now: it costs nothing, and turns faster than the trunk.
Negatives are the targets of the step's pairs and, hard ones, items near to the user. What was read
now is held against what was read now, and the rest against the rest: else the trunk would learn to
make what it reads look new, since it is the target more often than what it read before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.methods import warm_up_then_down
from models.text_ranker.losses import corrected_softmax, log_expected
from models.text_ranker.pairs import I64, Pairs, weights
from models.text_ranker.plan import Plan
from models.text_ranker.tower import ItemTower, pooled_users

LATEST = 4  # of a history: with .8^k the others say less than half of it
SHARPEST = 100.0

Told = Callable[[int, float], None]


class Steps:
    """What training moves, and one pass of it over the texts of all items in the pairs.

    Attributes:
        bank: what the projection reads of every text, as last read, fp32[items, hidden].
        parameters: what is trained; count: steps of a pass.
    """

    def __init__(self, tower: ItemTower, pairs: Pairs, plan: Plan) -> None:
        self._tower, self._plan = tower, plan
        self._histories = pairs.histories()
        self._weights = torch.from_numpy(weights(self._histories))
        self._targets = pairs.target
        self.bank = tower.frozen.clone()
        met = self._histories[self._histories >= 0]
        self.items = np.union1d(met, pairs.target)
        counted = np.bincount(pairs.target, minlength=len(self.bank))
        self._share = torch.from_numpy(counted / max(len(pairs), 1)).float()
        self.count = -(-len(self.items) // plan.texts)
        sharpness = torch.tensor(plan.sharpness).log()
        self._sharpness = torch.nn.Parameter(sharpness)
        beside = [*tower.projection.parameters(), self._sharpness]
        lora = tower.trained()
        self.parameters = [*lora, *beside]
        groups: list[dict[str, Any]] = [
            {"params": beside, "lr": plan.projection_rate, "weight_decay": 0.0}
        ]
        groups += [{"params": lora, "lr": plan.rate}] if lora else []
        self.optimiser = torch.optim.AdamW(groups, weight_decay=plan.decay)
        self._down = warm_up_then_down(plan.passes * self.count)
        self._rates = [plan.projection_rate, plan.rate][: len(groups)]

    def one_pass(self, number: int, told: Told) -> float:
        """Read every item's text once; the mean loss.

        Args:
            number: of the pass, from 1; with the seed it decides what is drawn.
            told: called after every step with (steps of this pass done, mean loss).
        """
        generator = np.random.default_rng((self._plan.seed, number))
        torch.manual_seed(int(generator.integers(2**31)))
        order = generator.permutation(self.items)
        mean = 0.0
        for step, read in enumerate(np.array_split(order, self.count), start=1):
            factor = self._down((number - 1) * self.count + step - 1)
            for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
                group["lr"] = rate * factor
            loss = self._loss(read, self._chosen(read, generator), generator)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimiser.step()
            mean += (loss.item() - mean) / step
            told(step, mean)
        return mean

    def _chosen(self, read: I64, generator: np.random.Generator) -> I64:
        """Pairs that these items occur in, those with one as the target first."""
        here = np.zeros(len(self.bank) + 1, bool)  # the last one is for no item, -1
        here[read] = True
        taken = here[self._targets]
        met = here[self._histories[:, :LATEST]].any(1) & ~taken
        first, then = (generator.permutation(np.flatnonzero(each)) for each in (taken, met))
        return np.concatenate([first, then])[: self._plan.pairs]

    def _loss(self, read: I64, chosen: I64, generator: np.random.Generator) -> Tensor:
        fresh = self._tower.means(read.tolist(), self._plan.thinning)
        table = self._tower(self.bank.index_copy(0, torch.from_numpy(read).to(fresh.device), fresh))
        self.bank[read] = fresh.detach()
        histories = torch.from_numpy(self._histories[chosen]).to(fresh.device)
        users = pooled_users(table, histories, self._weights[chosen].to(fresh.device))
        candidates, own = np.unique(self._targets[chosen], return_inverse=True)
        now, taken = (np.isin(each, read) for each in (candidates, self._targets[chosen]))
        expected = log_expected(self._share[candidates], int((~taken).sum()))
        expected[now] = 0.0  # all texts that are read have all their pairs here
        other = torch.from_numpy(now[None, :] != taken[:, None])
        sharp = self._sharpness.exp().clamp(max=SHARPEST)
        return corrected_softmax(
            sharp * users @ table[candidates].T,
            expected.to(fresh.device),
            torch.from_numpy(own).to(fresh.device),
            (self._had(chosen, candidates) | other).to(fresh.device),
            sharp * self._hard(users, table, chosen, generator),
            self._plan.strength,
        )

    def _had(self, chosen: I64, candidates: I64) -> Tensor:
        """Which candidates each pair's user has met, bool[chosen, candidates]."""
        place = np.full(len(self.bank) + 1, -1)
        place[candidates] = np.arange(len(candidates))
        at = place[self._histories[chosen]]
        had = np.zeros((len(chosen), len(candidates)), bool)
        rows, columns = np.nonzero(at >= 0)
        had[rows, at[rows, columns]] = True
        return torch.from_numpy(had)

    def _hard(
        self, users: Tensor, table: Tensor, chosen: I64, generator: np.random.Generator
    ) -> Tensor:
        """Cosines with some of the items nearest to each user, fp32[chosen, hard]."""
        if not self._plan.hard:
            return users.new_zeros(len(users), 0)
        with torch.no_grad():
            near = users @ table[self.items].T
            place = np.full(len(self.bank) + 1, -1)
            place[self.items] = np.arange(len(self.items))
            not_hard = np.column_stack([self._histories[chosen], self._targets[chosen]])
            at = torch.from_numpy(place[not_hard])
            near.scatter_(1, at.clamp_min(0).to(near.device), -1.0)
            band = near.topk(min(self._plan.band, near.shape[1])).indices.cpu()
            drawn = generator.integers(band.shape[1], size=(len(users), self._plan.hard))
            found = self.items[band.gather(1, torch.from_numpy(drawn)).numpy()]
        return (users.unsqueeze(1) * table[torch.from_numpy(found).to(table.device)]).sum(-1)
