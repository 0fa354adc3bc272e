"""The steps of a training of trunk and head, and what is kept of it: an interrupted one goes on.

The recipe is the session's. Kept after every 50 batches are the weights, AdamW's moments, what
early stopping knows, and the generators of numpy and torch, so that what goes on comes to what
would have been. AdaLoRA also remembers which directions mattered, in peft: it begins anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from msgspec import Struct

from models import methods
from models.errors import ModelError
from models.options import CHECKS, Patience, Perturbation
from models.packing import pack_shuffled

if TYPE_CHECKING:
    from models.session import Session

Progress = Callable[[int, int, float], None]

HEAD_RATE, WEIGHT_DECAY = 1e-3, 0.01
KEPT_EVERY = 50  # batches: a minute of two cores
RANDOM = "random"  # torch's generator in the file


class Place(NamedTuple):
    """Where a run is kept; `mark` stands for all that decides what it comes to."""

    folder: Path
    mark: str


class State(Struct, frozen=True):
    """`done` batches, their mean loss, numpy's generator, early stopping's loss and looks since."""

    mark: str
    done: int
    mean: float
    generator: str
    lowest: float | None
    since: int


class Fitting:
    """One run over the rows of a session.

    Args:
        generator: decides the batches, and what is thinned.
        place: where it is kept; None: nowhere.
    """

    def __init__(
        self, session: Session, epochs: int, generator: np.random.Generator, place: Place | None
    ) -> None:
        import torch

        self._session, self._generator = session, generator
        self._place = place if session.method != "adalora" else None
        self._held, rows = session.held_back(generator)
        lengths = [session.lengths[index] for index in rows]
        self._plan = [
            [rows[at] for at in batch]
            for _ in range(epochs)
            for batch in pack_shuffled(lengths, generator)
        ]
        adapter = [each for each in session.trunk.parameters() if each.requires_grad]
        self._trained = [*adapter, *session.head.parameters()]
        self._rates = methods.RATES[session.method], HEAD_RATE
        groups: list[dict[str, Any]] = [
            {"params": adapter},
            {"params": self._trained[len(adapter) :]},
        ]
        self._optimiser = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY)
        self._every = session.options.accumulate
        steps = -(-len(self._plan) // self._every)
        self._down = methods.warm_up_then_down(steps)
        methods.begin(session.trunk, session.method, steps)
        size = session.options.adversarial
        self._moved = Perturbation(session.trunk.get_input_embeddings(), size) if size else None
        looks = session.options.patience
        self._patience = Patience(self._trained, looks) if self._held else None
        self._look = max(1, len(self._plan) // (epochs * CHECKS))
        self._done, self._mean = 0, 0.0

    def run(self, progress: Progress) -> None:
        """From the first batch, or the first that an interrupted run did not keep, to the last.

        Raises:
            ModelError: the loss is no number.
        """
        self._go_on()
        kept = self._done
        while self._done < len(self._plan) and not (self._patience and self._patience.over):
            self._batch()
            progress(self._done, len(self._plan), self._mean)
            if self._patience and self._done % self._look == 0:
                self._patience.look(self._session.loss_of(self._held))
            if self._done - kept >= KEPT_EVERY and self._done % self._every == 0:
                self._keep()
                kept = self._done
        if self._patience:
            self._patience.restore()

    def _batch(self) -> None:
        total, every = len(self._plan), self._every
        together = min(every, total - self._done // every * every)  # the last may be fewer
        loss = self._session.backward(
            self._plan[self._done], together, self._generator, self._moved
        )
        self._done += 1
        if not isfinite(loss):
            raise ModelError(f"the loss is {loss} after {self._done} batches: nothing is learned")
        if self._done % every == 0 or self._done == total:
            self._step(-(-self._done // every))
        self._mean += (loss - self._mean) / min(self._done, 50)

    def _step(self, number: int) -> None:
        import torch

        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._down(number - 1)
        torch.nn.utils.clip_grad_norm_(self._trained, 1.0)
        self._optimiser.step()
        methods.stepped(self._session.trunk, self._session.method, number)
        self._optimiser.zero_grad(set_to_none=True)

    def _random(self) -> Any:
        """What draws the dropout."""
        import torch

        return torch.random if self._session.device == "cpu" else torch.cuda

    def _keep(self) -> None:
        from models import resuming

        if self._place is None:
            return
        patience = self._patience
        state = State(
            self._place.mark,
            self._done,
            self._mean,
            json.dumps(self._generator.bit_generator.state),
            patience.lowest if patience and isfinite(patience.lowest) else None,
            patience.since if patience else 0,
        )
        best = patience.best if patience else []
        random = {RANDOM: self._random().get_rng_state()}
        resuming.write(self._place.folder, state, self._trained, best, self._optimiser, random)

    def _go_on(self) -> None:
        from models import resuming

        if self._place is None:
            return
        found = resuming.read(
            self._place.folder, State, self._place.mark, self._trained, self._optimiser
        )
        if found is None:
            return
        state, best, tensors = found
        self._done, self._mean = state.done, state.mean
        self._generator.bit_generator.state = json.loads(state.generator)
        self._random().set_rng_state(tensors[RANDOM])
        if self._patience:
            self._patience.lowest = inf if state.lowest is None else state.lowest
            self._patience.since, self._patience.best = state.since, best
