"""What a training keeps while it runs, so that one that was interrupted goes on.

One safetensors file: parameters, the best ones so far and AdamW's moments, with the state in its
header. It belongs to one training alone: `mark` stands for all that decides what that comes to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypeVar

import msgspec
import torch
from torch import Tensor

from models.registry import save_tensors

FILE = "resume.safetensors"
HEADER = "springtide"
MOMENTS = ("exp_avg", "exp_avg_sq")


class State(Protocol):
    """How far a training is; a msgspec Struct."""

    @property
    def mark(self) -> str:
        """Of the training."""


S = TypeVar("S", bound=State)


def write(
    folder: Path,
    state: State,
    parameters: Sequence[Tensor],
    best: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
    beside: Mapping[str, Tensor] = MappingProxyType({}),
) -> None:
    """Keep it; the file is whole at any moment.

    Args:
        best: one for each parameter, or none at all.
        beside: what else is kept, by names of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: each.clone() for name, each in beside.items()}
    tensors |= {f"best.{number}": each.clone() for number, each in enumerate(best)}
    for number, each in enumerate(parameters):
        tensors[f"now.{number}"] = each.detach().clone()
        moments = optimiser.state[each]
        tensors |= {f"{name}.{number}": moments[name].clone() for name in (*MOMENTS, "step")}
    partial = folder / f"{FILE}.partial"
    save_tensors(partial, tensors, {HEADER: msgspec.json.encode(state).decode()})
    partial.replace(folder / FILE)


def read(
    folder: Path,
    kind: type[S],
    mark: str,
    parameters: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
) -> tuple[S, list[Tensor], dict[str, Tensor]] | None:
    """Put parameters and moments back; the state, the best parameters, and all tensors by name.

    None: nothing fits.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / FILE, "pt") as file:
            state = msgspec.json.decode((file.metadata() or {})[HEADER], type=kind)
            if state.mark != mark:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, msgspec.MsgspecError):
        return None
    for number, each in enumerate(parameters):
        each.data.copy_(tensors[f"now.{number}"])
        optimiser.state[each] = {
            name: tensors[f"{name}.{number}"].to("cpu" if name == "step" else each.device)
            for name in (*MOMENTS, "step")
        }
    best = [tensors[f"best.{n}"] for n in range(len(parameters)) if f"best.{n}" in tensors]
    return state, best, tensors


def remove(folder: Path) -> None:
    """The training is over."""
    (folder / FILE).unlink(missing_ok=True)
